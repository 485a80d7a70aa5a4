// init.c -- First process of the test machine: runs programs, reports, stops.
//
// The kernel starts it from the initramfs that tests/vm/run has packed. It
// mounts what a program expects to find, raises the loopback interface, runs
// the programs of /plan one after another with the console as their output,
// and powers the machine off. Linked statically: it needs nothing but itself.
//
// The plan has one word and its value a line:
//
//   name, dir, limit (seconds), env (K=V), arg    describe the next program
//   run                                           runs it
//
// The reports are lines that start with MARK; tests/vm/console.py reads them.
// Each begins on a line of its own, whatever the program left unfinished.
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

#define MARK "@@vm "
#define WORDS_MAX 64

struct program {
    char *name;
    char *dir;
    int64_t limit_ns;
    size_t args;
    size_t envs;
    char *arg[WORDS_MAX + 1]; // a NULL ends each list
    char *env[WORDS_MAX + 1];
};

static int64_t now_ns(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * INT64_C(1000000000) + t.tv_nsec;
}

// Ends the machine. Without the last report the host counts this as a failure.
static _Noreturn void power_off(void)
{
    fflush(stdout);
    tcdrain(STDOUT_FILENO);
    reboot(RB_POWER_OFF);
    _exit(1);
}

static _Noreturn void give_up(const char *what)
{
    printf("\n" MARK "broken %s: %s\n", what, strerror(errno));
    power_off();
}

static void mount_at(const char *type, const char *dir, const char *options)
{
    if (mkdir(dir, 0755) && errno != EEXIST)
        give_up(dir);
    if (mount(type, dir, type, 0, options))
        give_up(dir);
}

static void mount_all(void)
{
    mount_at("proc", "/proc", NULL);
    mount_at("sysfs", "/sys", NULL);
    mount_at("devtmpfs", "/dev", NULL);
    mount_at("devpts", "/dev/pts", NULL);
    mount_at("tmpfs", "/dev/shm", "mode=1777");
    if (mkdir("/tmp", 01777) && errno != EEXIST)
        give_up("/tmp");
    chmod("/tmp", 01777);
}

static void raise_loopback(void)
{
    struct ifreq request = {.ifr_name = "lo", .ifr_flags = IFF_UP};
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

    if (fd < 0 || ioctl(fd, SIOCSIFFLAGS, &request))
        give_up("loopback");
    close(fd);
}

// Standard input is empty; both outputs are the console, line by line, so that
// what a program has printed is there even if it dies in the next line.
static void open_console(void)
{
    int in = open("/dev/null", O_RDONLY);
    int out = open("/dev/console", O_WRONLY | O_NOCTTY);

    if (in < 0 || out < 0)
        power_off();
    dup2(in, STDIN_FILENO);
    dup2(out, STDOUT_FILENO);
    dup2(out, STDERR_FILENO);
    close(in);
    close(out);
}

static char *read_file(const char *path)
{
    struct stat about;
    int fd = open(path, O_RDONLY | O_CLOEXEC);

    if (fd < 0 || fstat(fd, &about))
        give_up(path);
    char *text = malloc(about.st_size + 1);
    if (!text || read(fd, text, about.st_size) != about.st_size)
        give_up(path);
    text[about.st_size] = '\0';
    close(fd);
    return text;
}

// A file of /proc knows no size: prints its first line as far as it fits.
static void show_line(const char *dir, const char *thread, const char *file)
{
    char path[128], line[160];
    snprintf(path, sizeof path, "%s/%s/%s", dir, thread, file);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t n = fd < 0 ? 0 : read(fd, line, sizeof line - 1);

    line[n < 0 ? 0 : n] = '\0';
    line[strcspn(line, "\n")] = '\0';
    printf(" %s", line[0] ? line : "-");
    if (fd >= 0)
        close(fd);
}

// For a program out of time: its threads, their names, and where each sleeps.
static void show_threads(pid_t pid)
{
    char path[64];
    snprintf(path, sizeof path, "/proc/%d/task", (int)pid);
    DIR *dir = opendir(path);

    for (struct dirent *e; dir && (e = readdir(dir)) != NULL;) {
        if (e->d_name[0] == '.')
            continue;
        printf("# thread %s:", e->d_name);
        show_line(path, e->d_name, "comm");
        show_line(path, e->d_name, "wchan");
        show_line(path, e->d_name, "syscall");
        printf("\n");
    }
    if (dir)
        closedir(dir);
}

static _Noreturn void become(const struct program *p)
{
    sigset_t none;

    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    setsid();
    if (chdir(p->dir) == 0)
        execve(p->arg[0], p->arg, p->env);
    fprintf(stderr, "# cannot run %s: %s\n", p->arg[0], strerror(errno));
    _exit(127);
}

// Reaps everything that has ended. True if `pid` was among it.
static bool reap(pid_t pid, int *ret_status)
{
    bool found = false;
    int status;

    for (pid_t dead; (dead = waitpid(-1, &status, WNOHANG)) > 0;) {
        if (dead != pid)
            continue;
        *ret_status = status;
        found = true;
    }
    return found;
}

// SIGCHLD stays blocked, so one that comes between reap and wait is not lost.
static bool await(pid_t pid, int64_t deadline, int *ret_status)
{
    sigset_t chld;

    sigemptyset(&chld);
    sigaddset(&chld, SIGCHLD);
    while (!reap(pid, ret_status)) {
        int64_t left = deadline - now_ns();
        if (left <= 0)
            return false;
        struct timespec t = {left / 1000000000, left % 1000000000};
        sigtimedwait(&chld, NULL, &t);
    }
    return true;
}

// The next program must find the machine empty.
static void kill_all(void)
{
    kill(-1, SIGKILL);
    while (wait(NULL) > 0 || errno == EINTR)
        ;
}

static void run(const struct program *p)
{
    if (!p->name || !p->dir || !p->args || !p->limit_ns) {
        errno = EINVAL;
        give_up("plan");
    }
    printf("\n" MARK "begin %s\n", p->name);
    fflush(stdout);

    int64_t start = now_ns();
    int status = 0;
    pid_t pid = fork();
    if (pid < 0)
        give_up("fork");
    if (pid == 0)
        become(p);
    bool ended = await(pid, start + p->limit_ns, &status);
    int64_t ms = (now_ns() - start) / 1000000;

    if (!ended)
        show_threads(pid);
    kill_all();
    const char *how = !ended                ? "time-out"
                      : WIFSIGNALED(status) ? "signal"
                                            : "exit";
    int code = WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status);
    printf("\n" MARK "end %s %s %d %lld\n", p->name, how, code, (long long)ms);
    fflush(stdout);
}

static void add_word(char **list, size_t *count, char *word)
{
    if (*count == WORDS_MAX) {
        errno = E2BIG;
        give_up("plan");
    }
    list[(*count)++] = word;
}

static void obey(struct program *p, const char *word, char *value)
{
    if (strcmp(word, "name") == 0) {
        p->name = value;
    } else if (strcmp(word, "dir") == 0) {
        p->dir = value;
    } else if (strcmp(word, "limit") == 0) {
        p->limit_ns = strtoll(value, NULL, 10) * 1000000000;
    } else if (strcmp(word, "env") == 0) {
        add_word(p->env, &p->envs, value);
    } else if (strcmp(word, "arg") == 0) {
        add_word(p->arg, &p->args, value);
    } else if (strcmp(word, "run") == 0) {
        run(p);
        *p = (struct program){0};
    } else {
        errno = EINVAL;
        give_up(word);
    }
}

static void obey_all(char *plan)
{
    struct program p = {0};
    char *at;

    for (char *line = strtok_r(plan, "\n", &at); line;
         line = strtok_r(NULL, "\n", &at)) {
        char *value = strchr(line, ' ');
        if (value)
            *value++ = '\0';
        obey(&p, line, value ? value : line + strlen(line));
    }
}

int main(void)
{
    sigset_t chld;

    sigemptyset(&chld);
    sigaddset(&chld, SIGCHLD);
    sigprocmask(SIG_BLOCK, &chld, NULL);
    mount_all();
    open_console();
    raise_loopback();
    obey_all(read_file("/plan"));
    printf("\n" MARK "done\n");
    power_off();
}
