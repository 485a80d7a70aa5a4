// tour.h -- What the parts of the tour share: how they tell what befell them.
#ifndef WEFT_FAULTS_TOUR_H
#define WEFT_FAULTS_TOUR_H

#include <stdbool.h>
#include <weft/weft.h>

// Whether a call succeeded; if not, says so, and that the tour had an error.
// Any thread or task.
bool went_well(int result, const char *what);

// Says that the library broke its word, and ends the process. Never returns if
// the condition does not hold.
void must_hold(bool condition, const char *what);

// Ends the process where the tour itself cannot go on, for want of something
// of its own: an error, but none of the library's.
void need(bool condition, const char *what);

// A runtime of so many workers; NULL if it could not be had.
weft_runtime *begin_runtime(unsigned workers);

// Runs a task to its end on a runtime of its own.
void run_alone(unsigned workers, weft_task_fn *fn, void *arg);

// Starts a task to be joined; false: it could not be started.
bool spawn(const char *name, weft_task_fn *fn, void *arg, weft_task *ret_task);

// Joins a task that spawn started. Its result.
void *join(weft_task task);

// The parts.
void tour_tasks(void);
void tour_sync(void);
void tour_net(void);
void tour_dump(void);
void tour_names(void);
void tour_signal(void);

#endif
