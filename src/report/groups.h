// groups.h -- Tasks that are in the same plight, told once.
//
// Tasks are in one group if they have the same state, the same kind of wait,
// for an object of the same kind and name, and the same stack (without a
// stack: the same spawn site). Text and JSON are made from the groups, so that
// a million tasks in the same place read as one.
#ifndef WEFT_REPORT_GROUPS_H
#define WEFT_REPORT_GROUPS_H

#include <weft/dump.h>

#include "report/write.h"

struct group {
    uint32_t count;
    uint32_t start;   // its tasks are groups.tasks[start .. start + count)
    uint32_t first;   // index of its first task: state, wait, stack are its
    uint32_t finding; // index of the first finding it has part in, or WEFT_NONE
    bool behind;      // it is blocked behind that one only
    int64_t min_ns, median_ns, max_ns; // of state_ns
};

struct groups {
    struct group *groups; // in the order of their importance
    size_t count;
    uint32_t *tasks;    // task indexes, group by group, in the dump's order
    uint32_t *group_of; // by task index
};

// 0 or -ENOMEM.
int groups_init(struct groups *groups, const weft_dump *dump);
void groups_deinit(struct groups *groups);

#endif
