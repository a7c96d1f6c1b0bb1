/* probe/probe.h: a look into a running process, asked for by SIGUSR1. */
#ifndef LRUN_PROBE_PROBE_H
#define LRUN_PROBE_PROBE_H

struct vm;

/* SIGUSR1 is taken from now on; once, for the VM that the process runs, before its script. */
void probe_open(struct vm *vm);

#endif
