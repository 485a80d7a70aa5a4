// cxx.cpp -- weft used from C++, linked to libweft.so.
//
// Exit status 0: the headers' C linkage, the symbol map and the shared library
// agree, and a task started from C++ has run there.
#include <weft/weft.h>

#include <cstdint>
#include <cstdio>

static void *twice(void *arg)
{
    return reinterpret_cast<void *>(reinterpret_cast<intptr_t>(arg) * 2);
}

static void *start_and_join(void *arg)
{
    weft_task_options options = weft_task_options();
    weft_task task;
    void *result = nullptr;

    options.size = sizeof options;
    options.name = "from C++";
    if (weft_task_spawn(&options, twice, arg, &task) != 0)
        return nullptr;
    if (weft_task_join(task, WEFT_NEVER, &result) != 0)
        return nullptr;
    return result;
}

int main()
{
    void *result = nullptr;
    int error = weft_run(nullptr, start_and_join,
                         reinterpret_cast<void *>(intptr_t(21)), &result);
    intptr_t number = reinterpret_cast<intptr_t>(result);

    if (error != 0 || number != 42) {
        std::printf("error %d, result %jd\n", error, intmax_t(number));
        return 1;
    }
    return 0;
}
