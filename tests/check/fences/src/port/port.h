// port.h -- Not even the port may: atomic_thread_fence in a comment is none.
#define FULL_FENCE() atomic_thread_fence(memory_order_seq_cst)
#define OLD_FENCE() __sync_synchronize()
#define X86_FENCE() _mm_mfence()
