// order.h -- Printing a dump, on a thread made for it.
//
// Names take their time, and files may block: so a task that prints parks
// meanwhile (sync/blocking.h), and its worker goes on.
#ifndef WEFT_REPORT_ORDER_H
#define WEFT_REPORT_ORDER_H

#include <weft/dump.h>

#include "sync/blocking.h"

// What is to be printed; the printer stores 0 or -errno.
struct order {
    const weft_dump *dump;
    weft_print_options options;
    FILE *file;
    int failed;
};

// Has a printer carry out an order of the user's: what that has stored, or
// -EINVAL. `options` may be NULL.
int order_print(weft_task_fn *printer, const weft_dump *dump,
                const weft_print_options *options, FILE *file);

#endif
