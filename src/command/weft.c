// weft.c -- The command: dumps of programs, from outside.
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <weft/dump.h>

#include "remote/take.h"

static int usage(FILE *to, int status)
{
    fputs("usage: weft dump PID [--json]\n"
          "Prints what every task of a running weft program is doing.\n",
          to);
    return status;
}

static int dump(int pid, bool json)
{
    struct target target;
    weft_dump *dump = NULL;
    int error = target_open(&target, pid);

    if (error == 0)
        error = remote_take(&target, &dump);
    if (error != 0)
        fprintf(stderr, "weft: process %d: %s\n", pid, target.problem);
    target_close(&target);
    if (error != 0)
        return 1;
    error = json ? weft_dump_print_json(dump, NULL, stdout)
                 : weft_dump_print_text(dump, NULL, stdout);
    if (error != 0)
        fprintf(stderr, "weft: the dump cannot be written: %s\n",
                strerror(-error));
    weft_dump_free(dump);
    return error != 0;
}

int main(int argc, char **argv)
{
    char *end;
    bool json = argc == 4 && strcmp(argv[3], "--json") == 0;

    if (argc == 2 && strcmp(argv[1], "--help") == 0)
        return usage(stdout, 0);
    if (argc < 3 || argc > 4 || strcmp(argv[1], "dump") != 0 ||
        (argc == 4 && !json))
        return usage(stderr, 64);
    long pid = strtol(argv[2], &end, 10);
    if (*end != '\0' || end == argv[2] || pid <= 0 || pid > INT32_MAX) {
        fprintf(stderr, "weft: %s is not the number of a process\n", argv[2]);
        return 64;
    }
    return dump((int)pid, json);
}
