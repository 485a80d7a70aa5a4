// plugin_asm.S -- Functions without frame pointers: one says by CFI where its
// caller is, the other does not, and ruins the frame pointer.
        .text

#if defined(__x86_64__)

        .globl  plugin_asm_told
        .type   plugin_asm_told, %function
plugin_asm_told:
        .cfi_startproc
        push    %rbp
        .cfi_def_cfa_offset 16
        .cfi_offset 6, -16
        push    %rbx
        .cfi_def_cfa_offset 24
        .cfi_offset 3, -24
        sub     $104, %rsp
        .cfi_def_cfa_offset 128
        mov     %rdi, %rax
        mov     %rsi, %rdi
        mov     $-1, %rbp
        mov     $-1, %rbx
        call    *%rax
        add     $104, %rsp
        .cfi_def_cfa_offset 24
        pop     %rbx
        .cfi_restore 3
        .cfi_def_cfa_offset 16
        pop     %rbp
        .cfi_restore 6
        .cfi_def_cfa_offset 8
        ret
        .cfi_endproc
        .size   plugin_asm_told, . - plugin_asm_told

        .globl  plugin_asm_untold
        .type   plugin_asm_untold, %function
plugin_asm_untold:
        push    %rbp
        mov     %rdi, %rax
        mov     %rsi, %rdi
        xor     %ebp, %ebp
        call    *%rax
        pop     %rbp
        ret
        .size   plugin_asm_untold, . - plugin_asm_untold

#elif defined(__aarch64__)

        .globl  plugin_asm_told
        .type   plugin_asm_told, %function
plugin_asm_told:
        .cfi_startproc
        sub     sp, sp, #64
        .cfi_def_cfa_offset 64
        str     x30, [sp, #40]
        .cfi_offset 30, -24
        str     x29, [sp, #16]
        .cfi_offset 29, -48
        mov     x9, x0
        mov     x0, x1
        mov     x29, #-1
        blr     x9
        ldr     x29, [sp, #16]
        ldr     x30, [sp, #40]
        add     sp, sp, #64
        .cfi_def_cfa_offset 0
        .cfi_restore 29
        .cfi_restore 30
        ret
        .cfi_endproc
        .size   plugin_asm_told, . - plugin_asm_told

        .globl  plugin_asm_untold
        .type   plugin_asm_untold, %function
plugin_asm_untold:
        sub     sp, sp, #64
        str     x30, [sp, #40]
        str     x29, [sp, #16]
        mov     x9, x0
        mov     x0, x1
        mov     x29, #0
        blr     x9
        ldr     x29, [sp, #16]
        ldr     x30, [sp, #40]
        add     sp, sp, #64
        ret
        .size   plugin_asm_untold, . - plugin_asm_untold

#endif

        .section .note.GNU-stack, "", %progbits
