// hostile.h -- Programs of which it is hard to take a dump, and what has to be
// true of each dump of them.
//
// While a program goes on, threads, tasks of its runtime and tasks of another
// ask for dumps at the same time. Each dump is judged: every resident, a task
// that lives from the program's beginning to its end, must be in it exactly
// once, and do what it may be doing.
#ifndef WEFT_TESTS_HOSTILE_H
#define WEFT_TESTS_HOSTILE_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <weft/weft.h>

enum {
    REASONS_MAX = 16,
    REASON_SIZE = 128,
};

#define BIT(number) (1U << (number))

// What a resident may be doing: bits of enum weft_task_state, and those of
// enum weft_wait_kind for one that waits.
struct role {
    unsigned states;
    unsigned waits;
};

struct resident {
    weft_task handle;
    const struct role *role;
};

struct hostile;

struct hostile_program {
    const char *name;
    // Adds the residents; the runtime is there.
    void (*begin)(struct hostile *h);
    // In a thread of its own, until h->stop; may be NULL.
    void *(*nuisance)(void *hostile);
    // After h->stop, before the residents are joined; may be NULL.
    void (*end)(struct hostile *h);
    // Takes a dump in another way than of h->runtime; may be NULL.
    int (*ask)(struct hostile *h, weft_dump **ret_dump);
    // Whether a task that is no resident may be there; NULL: no.
    bool (*allows)(const struct hostile *h, const weft_dump *dump, size_t index,
                   const weft_dump_task *task);
    size_t stack_size;  // of residents, or 0
    bool keeps_workers; // tasks of its runtime do not get to ask
    bool refuses;       // dumps may get -ENOMEM
    bool spoils;        // its process, for good; and is not for sanitizers
};

// A program that goes on.
struct hostile {
    const struct hostile_program *program;
    weft_runtime *runtime;
    weft_runtime *other; // whose tasks ask too
    unsigned workers;
    weft_channel *gate; // closed at the end
    atomic_bool stop;
    struct resident *residents; // in the order of their handles
    size_t count;
    size_t room;
    atomic_uint serial; // the program's, to count something
    int pipe[2];        // the program's
};

struct reason {
    char text[REASON_SIZE];
    unsigned long count;
};

// What became of the dumps that were asked for.
struct tally {
    unsigned long asked;
    unsigned long answered;   // with a dump
    unsigned long refused;    // with an error that the program brings about
    unsigned long incomplete; // of those answered
    unsigned long lost;       // of those answered: with a wrong judgement
    struct reason reasons[REASONS_MAX]; // for all that was not plain
    size_t reason_count;
    int64_t *times_ns;  // from asking to the answer
    int64_t longest_ns; // that a dump took by itself, without what came before
};

extern const struct hostile_program hostile_programs[];
extern const size_t hostile_program_count;

// Adds a resident that runs fn(hostile).
void hostile_add(struct hostile *h, const char *name, const struct role *role,
                 weft_task_fn *fn);

// Adds residents that wait until the end.
void hostile_add_parked(struct hostile *h, unsigned count);

// Runs a program, of which at least `dumps` dumps are asked; then once more,
// when all that was hostile is over: this dump must be complete. The tally is
// the caller's, to be freed by tally_deinit.
void hostile_run(const struct hostile_program *program, unsigned workers,
                 unsigned dumps, struct tally *ret_tally);

void tally_deinit(struct tally *tally);

#endif
