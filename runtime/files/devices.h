/* files/devices.h: which file systems answer without a wire: those of which the loop may open a file. */
#ifndef LRUN_FILES_DEVICES_H
#define LRUN_FILES_DEVICES_H

#include <stdint.h>

/* 1: local, 0: not, -1: nobody has asked yet. By the loop. */
int device_is_local(uint64_t dev);

/* Asks the file system that `fd` is on, which may wait. On any thread. */
void device_learn(uint64_t dev, int fd);

#endif
