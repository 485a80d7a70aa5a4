// order.c -- Printing a dump, on a thread made for it.
#include "report/order.h"

#include <errno.h>

int order_print(weft_task_fn *printer, const weft_dump *dump,
                const weft_print_options *options, FILE *file)
{
    struct order order = {.dump = dump, .file = file};

    if (!dump || !file || (options && options->size != sizeof(*options)))
        return -EINVAL;
    if (options)
        order.options = *options;
    (void)blocking_run_aside(printer, &order);
    return order.failed;
}
