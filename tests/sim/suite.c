// suite.c -- A test program as a body for many seeds.
//
// Its own main is compiled as tested_main. What it prints is thrown away unless
// it fails: standard error says enough.
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "sim/seeds.h"

int tested_main(void);

const unsigned seeds_faults = 0;

int seeds_body(void *arg)
{
    char text[4096];
    int nowhere = memfd_create("output", MFD_CLOEXEC);
    int out = dup(STDOUT_FILENO);

    (void)arg;
    (void)setenv("CMOCKA_MESSAGE_OUTPUT", "TAP", 1);
    (void)setenv("WEFT_TEST_SCALE", "0.01", 0); // unless one is set
    (void)dup2(nowhere, STDOUT_FILENO);
    int failed = tested_main();
    (void)fflush(stdout);
    (void)dup2(out, STDOUT_FILENO);
    ssize_t got = pread(nowhere, text, sizeof text, 0);
    if (failed != 0 && got > 0)
        (void)fwrite(text, 1, (size_t)got, stderr);
    return failed;
}
