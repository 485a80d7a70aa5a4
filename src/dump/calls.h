// calls.h -- System calls that a thread can sit in, by name.
#ifndef WEFT_DUMP_CALLS_H
#define WEFT_DUMP_CALLS_H

// The name of a system call of this machine, or NULL if it is none that waits.
// *ret_fd_arg is which argument is the descriptor it is about, or -1.
const char *calls_name(long number, int *ret_fd_arg);

#endif
