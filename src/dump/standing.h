// standing.h -- Captures a thread that does not come, where it stands.
//
// Registers and the live bytes of its stack, to be unwound later. A thread that
// sits in a system call is read from outside and does not notice; only one
// that runs is interrupted by a signal, for which the process gets a handler
// when it is first needed. No call of the thread ends early because of it.
#ifndef WEFT_DUMP_STANDING_H
#define WEFT_DUMP_STANDING_H

#include "dump/unwind.h"

enum standing_how {
    STANDING_IN_CALL,     // in a system call, read from outside
    STANDING_HELD,        // asleep in no call: stopped, or waiting for a page
    STANDING_RUNNING,     // interrupted
    STANDING_UNREACHABLE, // not captured: see `why`
};

// Of a thread that was not interrupted pc and sp alone are known: fp_search.h.
struct standing_result {
    enum standing_how how;
    const char *why;  // UNREACHABLE: lives as long as the standing; else NULL
    bool elsewhere;   // UNREACHABLE: it was not on its stack; ask again
    long call;        // IN_CALL: the system call's number; else -1
    uint64_t args[6]; // IN_CALL: its arguments
    struct unwind_regs regs;
    struct unwind_memory memory; // the bytes, until the next standing_ask
};

// What is set aside for one thread, or for reading others from outside.
struct standing;

// Whether a signal can serve to interrupt threads: one that can be caught and
// has no effect besides, is not raised by faults, and is not the C library's.
bool standing_can_use(int number);

// In the thread that is to be captured: sets memory aside for it and lets
// signal `number`, which can serve, through to it; NULL: no memory, which the
// next two take too.
struct standing *standing_begin(int number);

// The same thread is about to end. Captures that go on find nobody.
void standing_end(struct standing *standing);

// Gives the memory back, once no capture goes on.
void standing_free(struct standing *standing);

// Begins a capture of another thread, whose stack is [lo, hi) and stays
// mapped. Whoever captures is alone at it until standing_take has returned.
void standing_ask(struct standing *standing, uintptr_t lo, uintptr_t hi);

// One step of it, some 10 to 100 us. True: there is an answer, take it. False:
// let some time pass and come again. One that runs answers in its processor's
// next tick, within 4 ms as a rule, unless it gets no processor.
bool standing_advance(struct standing *standing);

// Takes the answer; if there is none, the thread is let be, and the result
// says why.
void standing_take(struct standing *standing,
                   struct standing_result *ret_result);

// Memory for reading threads that have nothing set aside; NULL: there is none.
// To be given back by free.
struct standing *standing_reader_new(void);

// Reads any thread of the process from outside, which may end meanwhile. One
// that runs is let be: UNREACHABLE. The result lives until the next one.
void standing_read(struct standing *standing, int tid,
                   struct standing_result *ret_result);

#endif
