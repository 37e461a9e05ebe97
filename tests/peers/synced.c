/* A disk as a power cut leaves it, and one that is full. Preloaded into the program under test.
 *
 * What is synced of the database is copied, in place, into the folder SYNCED_TO, and nothing else: the copy holds what a
 * machine that loses power keeps. While the file DISK_FULL exists, writes to the database fail. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <sys/stat.h>

/* The name of a database file behind a descriptor: not the index of the log, which is in memory. */
static const char *database(int fd, char *path, size_t size) {
    char link[64];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, path, size - 1);
    if (length <= 0) return NULL;
    path[length] = 0;
    const char *name = strrchr(path, '/');
    if (!name || strncmp(name + 1, "tandem.db", 9) || strstr(name, "-shm")) return NULL;
    return name + 1;
}

static void copy(int fd) {
    char path[4096], to[4096], buffer[1 << 16];
    const char *folder = getenv("SYNCED_TO"), *name = database(fd, path, sizeof path);
    ssize_t (*put)(int, const void *, size_t, off_t) = dlsym(RTLD_NEXT, "pwrite64");
    if (!folder || !name) return;
    snprintf(to, sizeof to, "%s/%s", folder, name);
    int out = open(to, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    if (out < 0) abort();
    off_t at = 0;
    ssize_t got;
    while ((got = pread(fd, buffer, sizeof buffer, at)) > 0) {
        if (put(out, buffer, got, at) != got) abort();
        at += got;
    }
    if (ftruncate(out, at)) abort();
    close(out);
}

int fdatasync(int fd) {
    int (*real)(int) = dlsym(RTLD_NEXT, "fdatasync");
    int result = real(fd);
    if (!result) copy(fd);
    return result;
}

int fsync(int fd) {
    int (*real)(int) = dlsym(RTLD_NEXT, "fsync");
    int result = real(fd);
    if (!result) copy(fd);
    return result;
}

static int full(int fd) {
    char path[4096];
    const char *flag = getenv("DISK_FULL");
    return flag && !access(flag, F_OK) && database(fd, path, sizeof path);
}

ssize_t pwrite64(int fd, const void *data, size_t size, off_t at) {
    ssize_t (*real)(int, const void *, size_t, off_t) = dlsym(RTLD_NEXT, "pwrite64");
    if (full(fd)) { errno = ENOSPC; return -1; }
    return real(fd, data, size, at);
}

ssize_t pwrite(int fd, const void *data, size_t size, off_t at) { return pwrite64(fd, data, size, at); }

ssize_t write(int fd, const void *data, size_t size) {
    ssize_t (*real)(int, const void *, size_t) = dlsym(RTLD_NEXT, "write");
    if (full(fd)) { errno = ENOSPC; return -1; }
    return real(fd, data, size);
}
