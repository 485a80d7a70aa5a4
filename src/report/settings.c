// settings.c -- What the environment says of findings and of the watch.
//
// A list of words and settings, separated by commas. What is not understood is
// told and ignored: a mistake there does not keep a program from running.
#include "report/settings.h"

#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "base/panic.h"
#include "dump/rules.h"

enum kind {
    TIME,   // int64_t, nanoseconds
    NUMBER, // uint32_t
};

// A field that a setting fills in where it is zero.
struct field {
    const char *name;
    enum kind kind;
    size_t offset;
};

#define FIND(name, kind)                                                       \
    {                                                                          \
#name, kind, offsetof(weft_finding_options, name)                      \
    }
#define WATCH(name, kind)                                                      \
    {                                                                          \
#name, kind, offsetof(weft_watch_options, name)                        \
    }

static const struct field find_fields[] = {
    FIND(asleep_ns, TIME),      FIND(stall_waiters, NUMBER),
    FIND(stall_ns, TIME),       FIND(lost_peer_ns, TIME),
    FIND(syscall_ns, TIME),     FIND(ready_ns, TIME),
    FIND(ready_factor, NUMBER), FIND(stack_percent, NUMBER),
    FIND(growth_tasks, NUMBER), FIND(growth_percent, NUMBER),
};

static const struct field watch_fields[] = {
    WATCH(every_ns, TIME),
    WATCH(look_ns, TIME),
    WATCH(period_ns, TIME),
};

// ---- Values ----

static bool parse_number(const char *text, uint32_t *ret_number)
{
    char *end;

    errno = 0;
    unsigned long number = strtoul(text, &end, 10);
    *ret_number = (uint32_t)number;
    return text[0] >= '0' && text[0] <= '9' && *end == '\0' && errno == 0 &&
           number > 0 && number < UINT32_MAX;
}

static int64_t unit_ns(const char *unit)
{
    static const struct {
        const char *name;
        int64_t ns;
    } units[] = {
        {"ns", 1},          {"us", WEFT_MICROSECOND}, {"ms", WEFT_MILLISECOND},
        {"s", WEFT_SECOND}, {"m", 60 * WEFT_SECOND},  {"h", 3600 * WEFT_SECOND},
    };

    for (size_t i = 0; i < sizeof units / sizeof *units; i++)
        if (strcmp(units[i].name, unit) == 0)
            return units[i].ns;
    return 0;
}

static bool parse_time(const char *text, int64_t *ret_ns)
{
    char *end;

    errno = 0;
    long long number = strtoll(text, &end, 10);
    int64_t unit = unit_ns(end);
    return text[0] >= '0' && text[0] <= '9' && errno == 0 && number > 0 &&
           unit > 0 && !__builtin_mul_overflow(number, unit, ret_ns);
}

static bool set_time(int64_t *field, const char *value)
{
    int64_t ns;

    if (!parse_time(value, &ns))
        return false;
    *field = *field == 0 ? ns : *field;
    return true;
}

static bool set_number(uint32_t *field, const char *value)
{
    uint32_t number;

    if (!parse_number(value, &number))
        return false;
    *field = *field == 0 ? number : *field;
    return true;
}

// False: no such field, or no such value for it.
static bool set_field(const struct field *fields, size_t count, void *options,
                      const char *name, const char *value)
{
    for (size_t i = 0; i < count; i++) {
        void *field = (char *)options + fields[i].offset;
        if (strcmp(fields[i].name, name) != 0)
            continue;
        return fields[i].kind == TIME ? set_time(field, value)
                                      : set_number(field, value);
    }
    return false;
}

// ---- Lists ----

typedef bool take_fn(void *arg, const char *name, const char *value);

// Calls take(arg, name, value) for each entry; the value of a mere word is "".
static void read_list(const char *variable, take_fn *take, void *arg)
{
    const char *list = getenv(variable);
    char *copy = list == NULL ? NULL : strdup(list);
    char *rest = copy;
    char *entry;

    while (rest != NULL && (entry = strsep(&rest, ",")) != NULL) {
        char *equals = strchr(entry, '=');
        if (entry[0] == '\0')
            continue;
        if (equals != NULL)
            *equals = '\0';
        const char *value = equals == NULL ? "" : equals + 1;
        if (!take(arg, entry, value))
            warn("%s: \"%s%s%s\" is no setting: ignored", variable, entry,
                 equals == NULL ? "" : "=", value);
    }
    free(copy);
}

struct find_settings {
    weft_finding_options *limits;
    int64_t *no_yield_ns;
    uint32_t off; // rules, by the environment
};

static bool take_find(void *arg, const char *name, const char *value)
{
    struct find_settings *settings = arg;

    for (enum weft_rule rule = 0; rule < WEFT_RULE_COUNT; rule++) {
        if (strcmp(weft_rule_name(rule), name) != 0)
            continue;
        bool off = strcmp(value, "off") == 0;
        if (!off && strcmp(value, "on") != 0)
            return false;
        settings->off &= ~WEFT_RULE_BIT(rule);
        settings->off |= off ? WEFT_RULE_BIT(rule) : 0;
        return true;
    }
    if (strcmp(name, "no_yield_ns") == 0)
        return set_time(settings->no_yield_ns, value);
    weft_finding_options with = *settings->limits;
    if (!set_field(find_fields, sizeof find_fields / sizeof *find_fields, &with,
                   name, value) ||
        !rules_check(&with))
        return false;
    *settings->limits = with;
    return true;
}

bool settings_find(const weft_finding_options *options,
                   weft_finding_options *ret_limits, int64_t *no_yield_ns)
{
    struct find_settings settings = {ret_limits, no_yield_ns, 0};

    *ret_limits = (weft_finding_options){.size = sizeof *ret_limits};
    if (options != NULL && !rules_check(options))
        return false;
    if (options != NULL)
        *ret_limits = *options;
    read_list("WEFT_FINDINGS", take_find, &settings);
    if (ret_limits->rules_off == 0)
        ret_limits->rules_off = settings.off;
    rules_set_defaults(ret_limits);
    return true;
}

// ---- The watch ----

struct watch_settings {
    weft_watch_options *watch;
    bool given; // by the program
    bool on;
};

static bool take_watch(void *arg, const char *name, const char *value)
{
    static const char *const severities[] = {
        [WEFT_SEVERITY_ERROR] = "error",
        [WEFT_SEVERITY_WARNING] = "warning",
        [WEFT_SEVERITY_INFO] = "info",
    };
    struct watch_settings *settings = arg;

    if (strcmp(name, "off") == 0 && value[0] == '\0') {
        settings->on = settings->given;
        return true;
    }
    for (unsigned i = 0; i < sizeof severities / sizeof *severities; i++) {
        if (strcmp(severities[i], name) != 0 || value[0] != '\0')
            continue;
        if (!settings->given)
            settings->watch->severity = (enum weft_severity)i;
        settings->on = true;
        return true;
    }
    return set_field(watch_fields, sizeof watch_fields / sizeof *watch_fields,
                     settings->watch, name, value);
}

static bool check_watch(const weft_watch_options *o)
{
    return o->size == sizeof *o &&
           (unsigned)o->severity <= WEFT_SEVERITY_INFO && o->every_ns >= 0 &&
           o->look_ns >= 0 && o->period_ns >= 0;
}

bool settings_watch(const weft_watch_options *options,
                    weft_watch_options *ret_watch, bool *ret_on)
{
    struct watch_settings settings = {
        .watch = ret_watch, .given = options != NULL, .on = options != NULL};

    *ret_watch = (weft_watch_options){.size = sizeof *ret_watch};
    if (options != NULL && !check_watch(options))
        return false;
    if (options != NULL)
        *ret_watch = *options;
    read_list("WEFT_WATCH", take_watch, &settings);
    if (!settings.given)
        ret_watch->path = getenv("WEFT_DUMP_FILE");
    if (ret_watch->every_ns == 0)
        ret_watch->every_ns = 60 * WEFT_SECOND;
    if (ret_watch->look_ns == 0)
        ret_watch->look_ns = 10 * WEFT_SECOND;
    *ret_on = settings.on;
    return true;
}
