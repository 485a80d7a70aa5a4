// switch_aarch64.S -- The switch between stacks on aarch64.
//
// Saves what the AAPCS64 makes the callee save, d8-d15 included. A saved stack
// is a struct switch_frame (160 bytes).
//
// As on x86-64, task_switch leaves by `br`, not `ret`, and task_enter by `ret`,
// so that the return predictor's entries are used by the returns they were
// made for.

        .text
        .globl  task_switch
        .hidden task_switch
        .type   task_switch, %function
        .p2align 4
task_switch:
        .cfi_startproc
        sub     sp, sp, #160
        .cfi_def_cfa_offset 160
        stp     x19, x20, [sp, #0]
        stp     x21, x22, [sp, #16]
        stp     x23, x24, [sp, #32]
        stp     x25, x26, [sp, #48]
        stp     x27, x28, [sp, #64]
        stp     x29, x30, [sp, #80]
        stp     d8, d9, [sp, #96]
        stp     d10, d11, [sp, #112]
        stp     d12, d13, [sp, #128]
        stp     d14, d15, [sp, #144]
        .cfi_offset 19, -160
        .cfi_offset 20, -152
        .cfi_offset 21, -144
        .cfi_offset 22, -136
        .cfi_offset 23, -128
        .cfi_offset 24, -120
        .cfi_offset 25, -112
        .cfi_offset 26, -104
        .cfi_offset 27, -96
        .cfi_offset 28, -88
        .cfi_offset 29, -80
        .cfi_offset 30, -72
        mov     x9, sp
        str     x9, [x0]
        mov     sp, x1
        ldp     x19, x20, [sp, #0]
        ldp     x21, x22, [sp, #16]
        ldp     x23, x24, [sp, #32]
        ldp     x25, x26, [sp, #48]
        ldp     x27, x28, [sp, #64]
        ldp     x29, x30, [sp, #80]
        ldp     d8, d9, [sp, #96]
        ldp     d10, d11, [sp, #112]
        ldp     d12, d13, [sp, #128]
        ldp     d14, d15, [sp, #144]
        add     sp, sp, #160
        .cfi_def_cfa_offset 0
        .cfi_restore 19
        .cfi_restore 20
        .cfi_restore 21
        .cfi_restore 22
        .cfi_restore 23
        .cfi_restore 24
        .cfi_restore 25
        .cfi_restore 26
        .cfi_restore 27
        .cfi_restore 28
        .cfi_restore 29
        .cfi_restore 30
        br      x30
        .cfi_endproc
        .size   task_switch, . - task_switch

// As task_switch, for the worker's side, which branches here with its address
// of return in x30 (see switch.h): no call, so no entry in the return
// predictor. It leaves by `ret`, which uses up the entry of the call to
// task_switch by which the task left.
        .globl  task_enter
        .hidden task_enter
        .type   task_enter, %function
        .p2align 4
task_enter:
        .cfi_startproc
        sub     sp, sp, #160
        .cfi_def_cfa_offset 160
        stp     x19, x20, [sp, #0]
        stp     x21, x22, [sp, #16]
        stp     x23, x24, [sp, #32]
        stp     x25, x26, [sp, #48]
        stp     x27, x28, [sp, #64]
        stp     x29, x30, [sp, #80]
        stp     d8, d9, [sp, #96]
        stp     d10, d11, [sp, #112]
        stp     d12, d13, [sp, #128]
        stp     d14, d15, [sp, #144]
        .cfi_offset 19, -160
        .cfi_offset 20, -152
        .cfi_offset 21, -144
        .cfi_offset 22, -136
        .cfi_offset 23, -128
        .cfi_offset 24, -120
        .cfi_offset 25, -112
        .cfi_offset 26, -104
        .cfi_offset 27, -96
        .cfi_offset 28, -88
        .cfi_offset 29, -80
        .cfi_offset 30, -72
        mov     x9, sp
        str     x9, [x0]
        mov     sp, x1
        ldp     x19, x20, [sp, #0]
        ldp     x21, x22, [sp, #16]
        ldp     x23, x24, [sp, #32]
        ldp     x25, x26, [sp, #48]
        ldp     x27, x28, [sp, #64]
        ldp     x29, x30, [sp, #80]
        ldp     d8, d9, [sp, #96]
        ldp     d10, d11, [sp, #112]
        ldp     d12, d13, [sp, #128]
        ldp     d14, d15, [sp, #144]
        add     sp, sp, #160
        .cfi_def_cfa_offset 0
        .cfi_restore 19
        .cfi_restore 20
        .cfi_restore 21
        .cfi_restore 22
        .cfi_restore 23
        .cfi_restore 24
        .cfi_restore 25
        .cfi_restore 26
        .cfi_restore 27
        .cfi_restore 28
        .cfi_restore 29
        .cfi_restore 30
        ret
        .cfi_endproc
        .size   task_enter, . - task_enter

// A new task: body in x19, its argument in x20, both put there by
// switch_prepare. The return address is declared undefined, which ends every
// backtrace here. The nop lets an unwinder that looks up "pc - 1" find this
// function when a task has not yet run.
        .globl  task_entry
        .hidden task_entry
        .type   task_entry, %function
        .p2align 4
        .cfi_startproc
        .cfi_undefined 30
        nop
task_entry:
        mov     x0, x20
        mov     x29, xzr
        mov     x30, xzr
        blr     x19
        brk     #1
        .cfi_endproc
        .size   task_entry, . - task_entry

        .section .note.GNU-stack, "", %progbits
