// regs.c -- The registers of a thread, as ptrace and cores have them.
#include "remote/regs.h"

void regs_of_user(const struct user_regs_struct *user,
                  struct unwind_regs *ret_regs)
{
    *ret_regs = (struct unwind_regs){0};
#if defined(__x86_64__)
    const uint64_t values[] = {user->rax, user->rdx, user->rcx, user->rbx,
                               user->rsi, user->rdi, user->rbp, user->rsp,
                               user->r8,  user->r9,  user->r10, user->r11,
                               user->r12, user->r13, user->r14, user->r15};
    for (size_t i = 0; i < sizeof values / sizeof *values; i++)
        ret_regs->reg[i] = values[i];
    ret_regs->valid = 0xffff;
    ret_regs->pc = user->rip;
#else
    for (int i = 0; i < 31; i++)
        ret_regs->reg[i] = user->regs[i];
    ret_regs->reg[CFI_SP] = user->sp;
    ret_regs->valid = 0xffffffff;
    ret_regs->pc = user->pc;
#endif
}
