// saved.h -- What a saved dump says that no core does: notes of weft's own.
//
// A saved dump is an ELF core: the memory that the dump was made of, and
// nothing else, in its PT_LOADs; the registers of threads in NT_PRSTATUS. What
// only the kernel of the living process could say is in these notes.
#ifndef WEFT_REMOTE_SAVED_H
#define WEFT_REMOTE_SAVED_H

#include <stdint.h>

// Types of notes, whose owner is BEACON_OWNER.
enum saved_note {
    SAVED_MOMENT = 0x77650001, // struct saved_moment
    SAVED_EXE,                 // a path
    SAVED_HOST,                // a name
    SAVED_ARGS,                // each ended by zero
    SAVED_FDS,                 // each its number, a blank, what it is, and zero
    SAVED_THREADS,             // struct saved_thread each
    SAVED_NAMES,               // of threads, as SAVED_FDS
};

enum { SAVED_VERSION = 1 };

struct saved_moment {
    uint32_t version;
    int32_t pid;
    uint64_t ticks;
    int64_t now_ns;
    int64_t wall_ns;
    int64_t start_ns;
    int64_t stood_ns;
    int64_t took_ns;
};

struct saved_thread {
    int32_t tid;
    int32_t inner_tid; // in its own PID namespace
    uint8_t stopped;
    uint8_t in_call;
    uint8_t standing; // where: `pc` and `sp`, or NT_PRSTATUS if it was stopped
    uint8_t zero[5];
    uint64_t pc, sp;
    int64_t call;
    uint64_t args[6];
};

#endif
