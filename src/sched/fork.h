// fork.h -- What a forked child keeps of weft.
#ifndef WEFT_SCHED_FORK_H
#define WEFT_SCHED_FORK_H

// Once a process: has fork leave the child the stack it runs on. 0 or -ENOMEM.
int fork_prepare(void);

#endif
