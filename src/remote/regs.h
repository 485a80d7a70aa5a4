// regs.h -- The registers of a thread, as ptrace and cores have them.
#ifndef WEFT_REMOTE_REGS_H
#define WEFT_REMOTE_REGS_H

#include <sys/user.h>

#include "dump/unwind.h"

// What of them unwinding begins with.
void regs_of_user(const struct user_regs_struct *user,
                  struct unwind_regs *ret_regs);

#endif
