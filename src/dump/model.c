// model.c -- The dump in memory: look-ups in it, its modules, its end.
#include "dump/model.h"

#include <errno.h>
#include <link.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "dump/elf_file.h"
#include "dump/rules.h"
#include "dump/store.h"

// ---- Tasks. ----

// What few tasks have.
static void add_extra(const struct extra *extra, struct model_task *m)
{
    m->timeout_in_ns = extra->timeout_in_ns;
    m->name = extra->name;
    m->labels = extra->labels;
    m->label_count = extra->label_count;
    m->worker = extra->worker;
    m->queue_place = extra->queue_place;
    m->held = extra->held;
    m->held_count = extra->held_count;
}

static struct model_task unpack(const struct store *store,
                                const struct record *record)
{
    const struct shape *shape =
        (const struct shape *)store->shapes.items + record->shape;
    struct model_task m = {
        .id = record->id,
        .handle = record->handle,
        .parent = shape->parent,
        .schedules = record->schedules,
        .state_ns = record->state_ns,
        .age_ns = record->age_ns,
        .cpu_ns = record->cpu_ns,
        .wait_task = shape->wait == WEFT_WAIT_SCOPE ? 0 : shape->wait_task,
        .wait_scope = shape->wait == WEFT_WAIT_SCOPE ? shape->wait_task : 0,
        .scope = shape->scope,
        .object = shape->object,
        .choice = shape->choice,
        .stack = shape->stack,
        .site = shape->site,
        .wait_fd = shape->wait_fd,
        .stack_used = (uint32_t)record->stack_used * STACK_UNIT,
        .stack_size = shape->stack_size,
        .state = shape->state,
        .wait = shape->wait,
        .wait_write = shape->wait_write,
    };

    add_extra(record->extra == WEFT_NONE
                  ? &EXTRA_NONE
                  : (const struct extra *)store->extras.items + record->extra,
              &m);
    return m;
}

struct model_task model_task(const struct weft_dump *dump, size_t index)
{
    const struct store *store = dump->store;

    if (store == NULL)
        return dump->tasks[index];
    return unpack(store, (const struct record *)store->records.items + index);
}

const struct model_choice *model_choice(const struct weft_dump *dump,
                                        size_t index)
{
    const struct model_task task = model_task(dump, index);

    return task.wait != WEFT_WAIT_SELECT || task.choice >= dump->choice_count
               ? NULL
               : &dump->choices[task.choice];
}

struct extra *model_extra(struct weft_dump *dump, size_t index)
{
    struct record *record = store_record(dump->store, (uint32_t)index);

    if (record->extra == WEFT_NONE)
        record->extra = store_extra(dump->store, &EXTRA_NONE);
    return record->extra == WEFT_NONE
               ? NULL
               : (struct extra *)dump->store->extras.items + record->extra;
}

const char *model_text(const struct weft_dump *dump, uint32_t offset)
{
    return offset < dump->text_size ? dump->text + offset : NULL;
}

// ---- Tasks by id: an open hash table of task indexes. ----

static size_t index_room(const struct weft_dump *dump)
{
    size_t room = 16;

    while (room < 2 * dump->task_count)
        room *= 2;
    return room;
}

static size_t first_place(uint64_t id, size_t room)
{
    uint64_t hash = (id ^ id >> 32) * UINT64_C(0x9e3779b97f4a7c15);

    return (hash ^ hash >> 32) & (room - 1);
}

static uint32_t *index_new(const struct weft_dump *dump)
{
    size_t room = index_room(dump);
    uint32_t *index = malloc(room * sizeof(*index));

    if (!index)
        return NULL;
    memset(index, 0xff, room * sizeof(*index)); // WEFT_NONE
    for (size_t i = 0; i < dump->task_count; i++) {
        size_t place = first_place(model_task(dump, i).id, room);
        while (index[place] != WEFT_NONE)
            place = (place + 1) & (room - 1);
        index[place] = (uint32_t)i;
    }
    return index;
}

static uint32_t index_find(const struct weft_dump *dump, const uint32_t *index,
                           uint64_t id)
{
    size_t room = index_room(dump);
    size_t place = first_place(id, room);

    while (index[place] != WEFT_NONE && model_task(dump, index[place]).id != id)
        place = (place + 1) & (room - 1);
    return index[place];
}

static uint32_t scan_find(const struct weft_dump *dump, uint64_t id)
{
    for (size_t i = 0; i < dump->task_count; i++)
        if (model_task(dump, i).id == id)
            return (uint32_t)i;
    return WEFT_NONE;
}

uint32_t model_find(const struct weft_dump *dump, uint64_t id)
{
    // The index is a memory of what the dump says, not a part of what it says.
    struct weft_dump *memory = (struct weft_dump *)dump;

    lock_acquire(&memory->index_lock);
    if (!memory->index)
        memory->index = index_new(dump);
    uint32_t *index = memory->index;
    lock_release(&memory->index_lock);
    return index ? index_find(dump, index, id) : scan_find(dump, id);
}

// ---- Who waits for an object. ----

// Fills each object's stretch of the list; `at` is where it goes on.
static void fill_waiters(const struct weft_dump *dump, uint32_t *at,
                         uint32_t *waiters)
{
    for (uint32_t i = 0; i < dump->task_count; i++) {
        uint32_t object = model_task(dump, i).object;
        if (object != WEFT_NONE)
            waiters[at[object]++] = i;
    }
}

static uint32_t *list_waiters(struct weft_dump *dump)
{
    uint32_t count = 0;
    uint32_t *at = malloc((dump->object_count + 1) * sizeof(*at));

    for (size_t i = 0; at && i < dump->object_count; i++) {
        at[i] = count;
        dump->objects[i].waiter = count;
        count += dump->objects[i].waiter_count;
    }
    uint32_t *waiters = at ? malloc((count + 1) * sizeof(*waiters)) : NULL;
    if (waiters)
        fill_waiters(dump, at, waiters);
    free(at);
    return waiters;
}

uint32_t model_waiter(const struct weft_dump *dump, uint32_t object,
                      uint32_t which)
{
    // As with the index above.
    struct weft_dump *memory = (struct weft_dump *)dump;

    lock_acquire(&memory->index_lock);
    if (!memory->waiters)
        memory->waiters = list_waiters(memory);
    uint32_t *waiters = memory->waiters;
    lock_release(&memory->index_lock);
    return waiters ? waiters[dump->objects[object].waiter + which] : WEFT_NONE;
}

// ---- Modules. ----

struct module_list {
    struct model_module *modules;
    size_t count, room;
    int error;
};

// Takes off what the kernel adds to the path of a file that is gone.
static void drop_deleted(char *path)
{
    static const char mark[] = " (deleted)";
    size_t length = strlen(path);

    if (length >= sizeof(mark) && access(path, F_OK) != 0 &&
        !strcmp(path + length - (sizeof(mark) - 1), mark))
        path[length - (sizeof(mark) - 1)] = '\0';
}

// The path of the running executable; "" if /proc does not say.
static char *executable_path(void)
{
    char path[4096];
    ssize_t length = readlink("/proc/self/exe", path, sizeof(path) - 1);

    path[length > 0 ? length : 0] = '\0';
    drop_deleted(path);
    return strdup(path);
}

// For a module without a build-id; the loader keeps it mapped meanwhile.
static uint64_t fingerprint(const struct dl_phdr_info *info)
{
    const void *table = NULL;
    size_t size = 0;

    for (int i = 0; i < info->dlpi_phnum && !table; i++)
        if (info->dlpi_phdr[i].p_type == PT_GNU_EH_FRAME) {
            table = (void *)(info->dlpi_addr + info->dlpi_phdr[i].p_vaddr);
            size = info->dlpi_phdr[i].p_filesz;
        }
    return elf_fingerprint(info->dlpi_phdr, info->dlpi_phnum, table, size);
}

static void describe_segments(struct model_module *module,
                              const struct dl_phdr_info *info)
{
    uintptr_t page = port_page_size();

    module->bias = info->dlpi_addr;
    module->start = UINTPTR_MAX;
    for (int i = 0; i < info->dlpi_phnum; i++) {
        const ElfW(Phdr) *segment = &info->dlpi_phdr[i];
        uintptr_t at = info->dlpi_addr + segment->p_vaddr;
        if (segment->p_type == PT_NOTE && !module->build_id)
            module->build_id = elf_notes_build_id(
                (const char *)at, segment->p_memsz, segment->p_align);
        if (segment->p_type != PT_LOAD)
            continue;
        if ((at & ~(page - 1)) < module->start)
            module->start = at & ~(page - 1);
        if (at + segment->p_memsz > module->end)
            module->end = at + segment->p_memsz;
    }
    if (module->start > module->end)
        module->start = module->end;
    if (!module->build_id)
        module->fingerprint = fingerprint(info);
}

static bool grow(struct module_list *list)
{
    if (list->count < list->room)
        return true;
    size_t room = list->room ? 2 * list->room : 16;
    struct model_module *modules =
        realloc(list->modules, room * sizeof(*modules));

    if (!modules)
        return false;
    list->modules = modules;
    list->room = room;
    return true;
}

static int add_module(struct dl_phdr_info *info, size_t size, void *arg)
{
    struct module_list *list = arg;
    bool first = list->count == 0; // the dynamic linker gives it first

    (void)size;
    if (!grow(list)) {
        list->error = -ENOMEM;
        return 1;
    }
    struct model_module *module = &list->modules[list->count];
    *module = (struct model_module){0};
    module->path = first ? executable_path() : strdup(info->dlpi_name);
    if (!module->path) {
        list->error = -ENOMEM;
        return 1;
    }
    describe_segments(module, info);
    list->count++;
    return 0;
}

// The module whose path is relative and that begins at an address, or NULL.
static struct model_module *find_relative(const struct module_list *list,
                                          uintptr_t start)
{
    for (size_t i = 0; i < list->count; i++)
        if (list->modules[i].start == start &&
            list->modules[i].path[0] != '/' &&
            strchr(list->modules[i].path, '/'))
            return &list->modules[i];
    return NULL;
}

// A path given to dlopen may be relative to where the process was then; the
// kernel knows where the file really is.
static void make_absolute(struct module_list *list)
{
    FILE *maps = fopen("/proc/self/maps", "re");
    char *line = NULL;
    size_t room = 0;

    while (maps && getline(&line, &room, maps) > 0) {
        struct model_module *module =
            find_relative(list, strtoull(line, NULL, 16));
        char *path = module ? strchr(line, '/') : NULL;
        if (!path)
            continue;
        path[strcspn(path, "\n")] = '\0';
        drop_deleted(path);
        path = strdup(path);
        if (path) {
            free(module->path);
            module->path = path;
        }
    }
    free(line);
    if (maps)
        (void)fclose(maps);
}

static bool any_relative(const struct module_list *list)
{
    for (size_t i = 0; i < list->count; i++)
        if (find_relative(list, list->modules[i].start))
            return true;
    return false;
}

int model_load_modules(struct model_module **ret_modules, size_t *ret_count)
{
    struct module_list list = {0};

    dl_iterate_phdr(add_module, &list);
    if (!list.error && any_relative(&list))
        make_absolute(&list);
    if (list.error) {
        model_free_modules(list.modules, list.count);
        return list.error;
    }
    *ret_modules = list.modules;
    *ret_count = list.count;
    return 0;
}

void model_free_modules(struct model_module *modules, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        free(modules[i].path);
        free(modules[i].build_id);
    }
    free(modules);
}

int model_add_modules(struct weft_dump *dump)
{
    return model_load_modules(&dump->modules, &dump->module_count);
}

// ---- The end. ----

static void free_findings(struct weft_dump *dump)
{
    for (size_t i = 0; i < dump->finding_count; i++) {
        free(dump->findings[i].tasks);
        free(dump->findings[i].objects);
        free(dump->findings[i].behind);
        free(dump->findings[i].detail);
    }
    free(dump->findings);
}

static void free_tables(struct weft_dump *dump)
{
    if (dump->store != NULL) { // they lie there
        store_free(dump->store);
        return;
    }
    free(dump->tasks);
    free(dump->objects);
    free(dump->stacks);
    free(dump->pcs);
    free(dump->sites);
    free(dump->channels);
    free(dump->text);
}

static void free_workers(struct weft_dump *dump)
{
    for (size_t i = 0; dump->workers && i < dump->worker_count; i++)
        free((char *)(uintptr_t)dump->workers[i].syscall_fd_name);
    free(dump->workers);
}

static void free_threads(struct weft_dump *dump)
{
    for (size_t i = 0; i < dump->thread_count; i++)
        free(dump->threads[i].fd_name);
    free(dump->threads);
}

void model_free(struct weft_dump *dump)
{
    if (dump->names)
        dump->names_free(dump->names);
    for (size_t i = 0; dump->args && dump->args[i]; i++)
        free(dump->args[i]);
    free(dump->args);
    free(dump->problem);
    free(dump->runtime);
    free(dump->exe);
    free(dump->host);
    free(dump->waiters);
    free(dump->holders);
    free(dump->held);
    free_workers(dump);
    free_threads(dump);
    free_findings(dump);
    model_free_modules(dump->modules, dump->module_count);
    free_tables(dump);
    rules_drop(dump->rules);
    free(dump->index);
    free(dump);
}
