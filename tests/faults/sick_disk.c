/* A disk that fails: preloaded, it makes one call on a file below a folder end with EIO.
 *
 *   SICK_FOLDER  the folder, as a path without links
 *   SICK_CALL    write, sync, read or rename; or `short`: reads and writes move a few bytes at a
 *                time, and every third of them is interrupted
 *   SICK_AT      the number of the call that fails, counted from 1 over all threads
 *   SICK_LOG     a file outside the folder to which the name of the file concerned is appended
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

#define MOST 13

static atomic_long calls;

static void tell(const char *path) {
    const char *log = getenv("SICK_LOG");
    if (!log) return;
    int (*open_file)(const char *, int, ...) = (int (*)(const char *, int, ...))dlsym(RTLD_NEXT, "open");
    ssize_t (*out)(int, const void *, size_t) =
        (ssize_t (*)(int, const void *, size_t))dlsym(RTLD_NEXT, "write");
    int fd = open_file(log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    if (fd < 0) return;
    if (out(fd, path, strlen(path)) >= 0) (void)out(fd, "\n", 1);
    close(fd);
}

/* Whether the file of that path is on the disk. */
static int is_on_it(const char *path) {
    const char *folder = getenv("SICK_FOLDER");
    size_t length = folder ? strlen(folder) : 0;
    return length && !strncmp(path, folder, length) && (path[length] == '/' || !path[length]);
}

static int path_of(int fd, char *path, size_t size) {
    char name[64];
    snprintf(name, sizeof name, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(name, path, size - 1);
    path[length < 0 ? 0 : length] = 0;
    return length > 0;
}

/* Counts a call on a path; whether it is the one that fails. */
static int fails(const char *call, const char *path) {
    const char *wanted = getenv("SICK_CALL"), *at = getenv("SICK_AT");
    if (!wanted || !at || strcmp(wanted, call) || !is_on_it(path)) return 0;
    if (atomic_fetch_add(&calls, 1) + 1 != atol(at)) return 0;
    tell(path);
    errno = EIO;
    return 1;
}

static int fails_fd(const char *call, int fd) {
    int saved = errno;
    char path[4096];
    int failed = path_of(fd, path, sizeof path) && fails(call, path);
    if (!failed) errno = saved;
    return failed;
}

/* How many of `count` bytes a call moves; 0 if it is interrupted instead. */
static size_t part(int fd, size_t count) {
    const char *wanted = getenv("SICK_CALL");
    int saved = errno;
    char path[4096];
    if (wanted && !strcmp(wanted, "short") && count > 1 && path_of(fd, path, sizeof path) &&
        is_on_it(path)) {
        long number = atomic_fetch_add(&calls, 1) + 1;
        if (number == 1) tell(path);
        if (number % 3 == 0) {
            errno = EINTR;
            return 0;
        }
        /* a few bytes, or the job would take hours: a part of a large block */
        count = count > 64 * MOST ? count / MOST : (count < MOST ? 1 : MOST);
    }
    errno = saved;
    return count;
}

#define NEXT(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

ssize_t write(int fd, const void *from, size_t count) {
    if (fails_fd("write", fd)) return -1;
    size_t moved = part(fd, count);
    return count && !moved ? -1 : NEXT(write)(fd, from, moved);
}

ssize_t writev(int fd, const struct iovec *from, int count) {
    if (fails_fd("write", fd)) return -1;
    return NEXT(writev)(fd, from, count);
}

ssize_t read(int fd, void *into, size_t count) {
    if (fails_fd("read", fd)) return -1;
    size_t moved = part(fd, count);
    return count && !moved ? -1 : NEXT(read)(fd, into, moved);
}

ssize_t pread(int fd, void *into, size_t count, off_t at) {
    if (fails_fd("read", fd)) return -1;
    size_t moved = part(fd, count);
    return count && !moved ? -1 : NEXT(pread)(fd, into, moved, at);
}

ssize_t pread64(int fd, void *into, size_t count, off64_t at) {
    if (fails_fd("read", fd)) return -1;
    size_t moved = part(fd, count);
    return count && !moved ? -1 : NEXT(pread64)(fd, into, moved, at);
}

int fsync(int fd) { return fails_fd("sync", fd) ? -1 : NEXT(fsync)(fd); }

int fdatasync(int fd) { return fails_fd("sync", fd) ? -1 : NEXT(fdatasync)(fd); }

int rename(const char *from, const char *to) {
    return fails("rename", to) ? -1 : NEXT(rename)(from, to);
}
