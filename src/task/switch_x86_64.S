// switch_x86_64.S -- The switch between stacks on x86-64.
//
// Saves what the System V ABI makes the callee save. A saved stack is a struct
// switch_frame; the unwind directives below describe it at every instruction.
//
// The processor predicts returns by a stack of its own, of calls. A task leaves
// by a call to task_switch, which goes on in the worker by `pop; jmp` and so
// leaves that call's entry where it is; a worker enters a task by task_enter,
// without a call, and returns by `ret` from the task's. So each entry is used
// by the return it was made for (yield 25 ns -> 16; `ret` in both: 9 ns more a
// switch).

        .text
        .globl  task_switch
        .hidden task_switch
        .type   task_switch, @function
        .p2align 4
task_switch:
        .cfi_startproc
        pushq   %rbp
        .cfi_adjust_cfa_offset 8
        .cfi_rel_offset %rbp, 0
        pushq   %rbx
        .cfi_adjust_cfa_offset 8
        .cfi_rel_offset %rbx, 0
        pushq   %r12
        .cfi_adjust_cfa_offset 8
        .cfi_rel_offset %r12, 0
        pushq   %r13
        .cfi_adjust_cfa_offset 8
        .cfi_rel_offset %r13, 0
        pushq   %r14
        .cfi_adjust_cfa_offset 8
        .cfi_rel_offset %r14, 0
        pushq   %r15
        .cfi_adjust_cfa_offset 8
        .cfi_rel_offset %r15, 0
        movq    %rsp, (%rdi)
        movq    %rsi, %rsp
        popq    %r15
        .cfi_adjust_cfa_offset -8
        .cfi_same_value %r15
        popq    %r14
        .cfi_adjust_cfa_offset -8
        .cfi_same_value %r14
        popq    %r13
        .cfi_adjust_cfa_offset -8
        .cfi_same_value %r13
        popq    %r12
        .cfi_adjust_cfa_offset -8
        .cfi_same_value %r12
        popq    %rbx
        .cfi_adjust_cfa_offset -8
        .cfi_same_value %rbx
        popq    %rbp
        .cfi_adjust_cfa_offset -8
        .cfi_same_value %rbp
        popq    %rcx
        .cfi_adjust_cfa_offset -8
        .cfi_register %rip, %rcx
        jmp     *%rcx
        .cfi_endproc
        .size   task_switch, . - task_switch

// As task_switch, for the worker's side, which jumps here with its address of
// return in rdx (see switch.h): no call, so no entry in the return predictor.
// It leaves by `ret`, which uses up the entry of the call to task_switch by
// which the task left.
        .globl  task_enter
        .hidden task_enter
        .type   task_enter, @function
        .p2align 4
task_enter:
        .cfi_startproc
        .cfi_def_cfa %rsp, 0
        .cfi_register %rip, %rdx
        pushq   %rdx
        .cfi_adjust_cfa_offset 8
        .cfi_rel_offset %rip, 0
        pushq   %rbp
        .cfi_adjust_cfa_offset 8
        .cfi_rel_offset %rbp, 0
        pushq   %rbx
        .cfi_adjust_cfa_offset 8
        .cfi_rel_offset %rbx, 0
        pushq   %r12
        .cfi_adjust_cfa_offset 8
        .cfi_rel_offset %r12, 0
        pushq   %r13
        .cfi_adjust_cfa_offset 8
        .cfi_rel_offset %r13, 0
        pushq   %r14
        .cfi_adjust_cfa_offset 8
        .cfi_rel_offset %r14, 0
        pushq   %r15
        .cfi_adjust_cfa_offset 8
        .cfi_rel_offset %r15, 0
        movq    %rsp, (%rdi)
        movq    %rsi, %rsp
        popq    %r15
        .cfi_adjust_cfa_offset -8
        .cfi_same_value %r15
        popq    %r14
        .cfi_adjust_cfa_offset -8
        .cfi_same_value %r14
        popq    %r13
        .cfi_adjust_cfa_offset -8
        .cfi_same_value %r13
        popq    %r12
        .cfi_adjust_cfa_offset -8
        .cfi_same_value %r12
        popq    %rbx
        .cfi_adjust_cfa_offset -8
        .cfi_same_value %rbx
        popq    %rbp
        .cfi_adjust_cfa_offset -8
        .cfi_same_value %rbp
        retq
        .cfi_endproc
        .size   task_enter, . - task_enter

// A new task: body in r12, its argument in r13, both put there by
// switch_prepare. The return address is declared undefined, which ends every
// backtrace here. The nop lets an unwinder that looks up "pc - 1" find this
// function when a task has not yet run.
        .globl  task_entry
        .hidden task_entry
        .type   task_entry, @function
        .p2align 4
        .cfi_startproc
        .cfi_undefined %rip
        nop
task_entry:
        movq    %r13, %rdi
        xorl    %ebp, %ebp
        callq   *%r12
        ud2
        .cfi_endproc
        .size   task_entry, . - task_entry

        .section .note.GNU-stack, "", @progbits
