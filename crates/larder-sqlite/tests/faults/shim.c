/* A disk that can be told to fail: wraps the system calls on files of one name.
 *
 * Loaded before libc (LD_PRELOAD) into a child of the tests in `main.rs`, which compile it. What is
 * to fail stands in a small file that is mapped here and written there, so that the process under
 * test steers it while it runs; `Disk` in `disk.rs` is the other side of `struct control`.
 *
 * Invariant: calls on any other file, and all calls while nothing is armed, reach libc unchanged. */

#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <unistd.h>

enum { READ = 1, WRITE = 2, SYNC = 4, RESIZE = 8, OPEN = 16, NAME = 32, LOCK = 64 };

/* Half of it is done, and the rest when it is asked for again. */
#define SHORT -1
/* Half of it is done, and the rest never: the disk is full. */
#define CUT -2

struct control {
    _Atomic int64_t calls;  /* which, as a sum of the above; 0: nothing is armed */
    _Atomic int64_t fault;  /* the number of an error, SHORT or CUT */
    _Atomic int64_t spared; /* calls that succeed before the first that fails */
    _Atomic int64_t count;  /* calls that fail, one after the other */
    _Atomic int64_t failed; /* how many did */
    _Atomic int64_t asked;  /* how many came */
    char name[208];         /* how the path of the file ends; with `*` at the end: what it holds */
};

static struct control *control;

/* What of one log is on the disk, and not only in memory: a second file, into which each flush
 * copies what was written since the last one. One that fails copies nothing, and what it should
 * have copied is never copied later unless it is written again: so Linux does it. */
static int on_disk = -1;
static struct { off_t from, to; } dirty[1 << 16];
static size_t dirty_count;

__attribute__((constructor)) static void begin(void) {
    const char *path = getenv("LARDER_FAULT_CONTROL");
    int (*own)(const char *, int, ...) = dlsym(RTLD_NEXT, "open");
    int file = path ? own(path, O_RDWR) : -1;
    if (file < 0) return;
    void *memory = mmap(NULL, sizeof *control, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    if (memory != MAP_FAILED) control = memory;
    close(file);
    const char *disk = getenv("LARDER_FAULT_ON_DISK");
    if (disk) on_disk = own(disk, O_RDWR | O_CREAT, 0600);
}

static int is_named(const char *path) {
    size_t length = strlen(path), wanted = strnlen(control->name, sizeof control->name - 1);
    if (wanted && control->name[wanted - 1] == '*') {
        char part[sizeof control->name];
        memcpy(part, control->name, wanted - 1);
        part[wanted - 1] = 0;
        return strstr(path, part) != NULL;
    }
    return wanted <= length && strcmp(path + length - wanted, control->name) == 0;
}

/* The fault of this call, or 0. */
static int64_t fault_of(int call, const char *path) {
    if (!control || !(atomic_load(&control->calls) & call) || !is_named(path)) return 0;
    int64_t before = atomic_fetch_add(&control->asked, 1);
    int64_t spared = atomic_load(&control->spared);
    if (before < spared || spared + atomic_load(&control->count) <= before) return 0;
    atomic_fetch_add(&control->failed, 1);
    return atomic_load(&control->fault);
}

static int64_t fault_on(int call, int file) {
    char link[64], path[4096];
    if (!control || !(atomic_load(&control->calls) & call)) return 0;
    snprintf(link, sizeof link, "/proc/self/fd/%d", file);
    ssize_t length = readlink(link, path, sizeof path - 1);
    if (length < 0) return 0;
    path[length] = 0;
    return fault_of(call, path);
}

#define NEXT(name) \
    static __typeof__(name) *next; \
    if (!next) next = (__typeof__(name) *)dlsym(RTLD_NEXT, #name)

#define FAILS(fault) \
    if (0 < (fault)) { \
        errno = (int)(fault); \
        return -1; \
    }

static int is_log(int file) {
    char link[64], path[4096];
    if (on_disk < 0) return 0;
    snprintf(link, sizeof link, "/proc/self/fd/%d", file);
    ssize_t length = readlink(link, path, sizeof path - 1);
    return 4 < length && memcmp(path + length - 4, "-wal", 4) == 0;
}

static void wrote(int file, off_t from, ssize_t count) {
    if (count <= 0 || !is_log(file)) return;
    if (dirty_count == sizeof dirty / sizeof *dirty) abort();
    dirty[dirty_count].from = from;
    dirty[dirty_count++].to = from + count;
}

static void flushed(int file, int64_t fault) {
    if (!is_log(file)) return;
    for (size_t at = 0; !fault && at < dirty_count; at++) {
        for (off_t place = dirty[at].from; place < dirty[at].to;) {
            char bytes[4096];
            size_t count = sizeof bytes;
            if (dirty[at].to - place < (off_t)count) count = (size_t)(dirty[at].to - place);
            if (syscall(SYS_pread64, file, bytes, count, place) != (ssize_t)count) abort();
            if (syscall(SYS_pwrite64, on_disk, bytes, count, place) != (ssize_t)count) abort();
            place += (off_t)count;
        }
    }
    dirty_count = 0;
}

/* Moving bytes: all of them, half of them, or none. */
#define MOVES(name, call, buffer, ...) \
    ssize_t name(int file, buffer bytes, size_t count __VA_OPT__(, off_t at)) { \
        NEXT(name); \
        int64_t fault = fault_on(call, file); \
        FAILS(fault) \
        if (fault && count < 2) { \
            errno = ENOSPC; \
            return -1; \
        } \
        if (fault == CUT) { \
            /* What comes after it finds no room. */ \
            atomic_store(&control->fault, ENOSPC); \
            atomic_fetch_add(&control->count, 1); \
        } \
        if (call != WRITE || on_disk < 0) \
            return next(file, bytes, fault ? count / 2 : count __VA_OPT__(, at)); \
        off_t from = lseek(file, 0, SEEK_CUR); \
        __VA_OPT__(from = at;) \
        ssize_t moved = next(file, bytes, fault ? count / 2 : count __VA_OPT__(, at)); \
        wrote(file, from, moved); \
        return moved; \
    }

MOVES(read, READ, void *)
MOVES(pread, READ, void *, at)
MOVES(pread64, READ, void *, at)
MOVES(write, WRITE, const void *)
MOVES(pwrite, WRITE, const void *, at)
MOVES(pwrite64, WRITE, const void *, at)

#define ENDS(name, call, parameters, ...) \
    int name parameters { \
        NEXT(name); \
        int64_t fault = fault_on(call, file); \
        FAILS(fault) \
        return next(__VA_ARGS__); \
    }

/* Nobody cuts the power here, so a flush that does not fail need not be waited for. */
#define FLUSHES(name) \
    int name(int file) { \
        int64_t fault = fault_on(SYNC, file); \
        flushed(file, fault); \
        FAILS(fault) \
        return 0; \
    }

FLUSHES(fsync)
FLUSHES(fdatasync)
ENDS(ftruncate, RESIZE, (int file, off_t size), file, size)
ENDS(ftruncate64, RESIZE, (int file, off64_t size), file, size)

#define OPENS(name) \
    int name(const char *path, int flags, ...) { \
        NEXT(name); \
        va_list rest; \
        va_start(rest, flags); \
        mode_t mode = flags & (O_CREAT | O_TMPFILE) ? va_arg(rest, mode_t) : 0; \
        va_end(rest); \
        int64_t fault = fault_of(OPEN, path); \
        FAILS(fault) \
        return next(path, flags, mode); \
    }

OPENS(open)
OPENS(open64)

#define LOCKS(name) \
    int name(int file, int command, ...) { \
        NEXT(name); \
        va_list rest; \
        va_start(rest, command); \
        void *argument = va_arg(rest, void *); \
        va_end(rest); \
        /* Giving a lock back does not fail on any file system that SQLite works on. */ \
        int is_lock = (command == F_SETLK || command == F_SETLKW) && \
                      ((struct flock *)argument)->l_type != F_UNLCK; \
        int64_t fault = is_lock ? fault_on(LOCK, file) : 0; \
        FAILS(fault) \
        return next(file, command, argument); \
    }

LOCKS(fcntl)
LOCKS(fcntl64)

int rename(const char *from, const char *to) {
    NEXT(rename);
    int64_t fault = fault_of(NAME, to);
    FAILS(fault)
    return next(from, to);
}

int unlink(const char *path) {
    NEXT(unlink);
    int64_t fault = fault_of(NAME, path);
    FAILS(fault)
    return next(path);
}
