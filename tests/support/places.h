// places.h -- A small program that never runs: places in it for made-up dumps.
//
// places_init() stores in places[] the return addresses of calls that stand,
// by the debug information, in the files and lines named here.
#ifndef TESTS_SUPPORT_PLACES_H
#define TESTS_SUPPORT_PLACES_H

#include <stdint.h>

enum place {
    TRANSFER_41,
    TRANSFER_47,
    TRANSFER_63,
    TRANSFER_69,
    BALANCE_22,
    CONN_READ_77,
    REQUEST_MAIN_118,
    ACCEPT_LOOP_31,
    ACCEPT_LOOP_36,
    SUM_MONTH_203,
    REPORT_MAIN_41,
    MAIN_TASK_40,
    MAIN_TASK_55,
    MAIN_TASK_61,
    AUDIT_FLUSH_90,
    METRICS_TICK_19,
    WORKER_MAIN_30,
    INLINED_12,
    PLACE_COUNT,
};

static uintptr_t places[PLACE_COUNT];

#define PLACE_FN static __attribute__((noinline)) void

PLACE_FN note(enum place place)
{
    places[place] = (uintptr_t)__builtin_return_address(0);
}

// Keeps a call from becoming a jump.
#define PLACE_END __asm__ volatile("")

// clang-format off
PLACE_FN transfer(void)
{
#line 41 "app/bank.c"
    note(TRANSFER_41);
#line 47 "app/bank.c"
    note(TRANSFER_47);
#line 63 "app/bank.c"
    note(TRANSFER_63);
#line 69 "app/bank.c"
    note(TRANSFER_69);
    PLACE_END;
}

PLACE_FN balance(void)
{
#line 22 "app/bank.c"
    note(BALANCE_22);
    PLACE_END;
}

PLACE_FN conn_read(void)
{
#line 77 "app/conn.c"
    note(CONN_READ_77);
    PLACE_END;
}

PLACE_FN request_main(void)
{
#line 118 "app/conn.c"
    note(REQUEST_MAIN_118);
    PLACE_END;
}

PLACE_FN accept_loop(void)
{
#line 31 "app/listen.c"
    note(ACCEPT_LOOP_31);
#line 36 "app/listen.c"
    note(ACCEPT_LOOP_36);
    PLACE_END;
}

PLACE_FN sum_month(void)
{
#line 203 "app/report.c"
    note(SUM_MONTH_203);
    PLACE_END;
}

PLACE_FN report_main(void)
{
#line 41 "app/report.c"
    note(REPORT_MAIN_41);
    PLACE_END;
}

PLACE_FN main_task(void)
{
#line 40 "app/main.c"
    note(MAIN_TASK_40);
#line 55 "app/main.c"
    note(MAIN_TASK_55);
#line 61 "app/main.c"
    note(MAIN_TASK_61);
    PLACE_END;
}

PLACE_FN audit_flush(void)
{
#line 90 "app/audit.c"
    note(AUDIT_FLUSH_90);
    PLACE_END;
}

PLACE_FN metrics_tick(void)
{
#line 19 "app/metrics.c"
    note(METRICS_TICK_19);
    PLACE_END;
}

PLACE_FN worker_main(void)
{
#line 30 "app/work.c"
    note(WORKER_MAIN_30);
    PLACE_END;
}

static inline __attribute__((always_inline)) void innermost(void)
{
#line 12 "app/inline.h"
    note(INLINED_12);
    PLACE_END;
}

static inline __attribute__((always_inline)) void between(void)
{
#line 23 "app/inline.h"
    innermost();
    PLACE_END;
}

PLACE_FN outermost(void)
{
#line 34 "app/inline.c"
    between();
    PLACE_END;
}
// clang-format on

static void places_init(void)
{
    transfer();
    balance();
    conn_read();
    request_main();
    accept_loop();
    sum_month();
    report_main();
    main_task();
    audit_flush();
    metrics_tick();
    worker_main();
    outermost();
}

#endif
