/* host/credentials.h: what this process does when a script has changed its user or group. */
#ifndef LRUN_HOST_CREDENTIALS_H
#define LRUN_HOST_CREDENTIALS_H

/* `changed` is called after each change by process.setuid and its likes; one function, for the life of the process. */
void credentials_on_change(void (*changed)(void));

#endif
