/* Sees the file system calls that a process makes below one folder: counts, records, and spoils them.
 *
 * Preloaded (LD_PRELOAD) into a Python, it stands before libc for Python itself, for libsqlite3 and for every other
 * library that calls libc through its dynamic symbols. It does nothing until interpose_track() names a folder, and
 * only in the process that called it: the extraction workers, forked children, and the child of a vfork that still
 * shares our memory pass through. Calls that change something are made and logged under one lock, so the log's
 * order is the order of their effects. interpose.py is its only user and explains the interface.
 */
#include "state.h"

/* A call that changes something: judged, made and noted as one. The expressions see `verdict` and set `result`. */
#define CHANGE(KIND, PATH, CALL, NOTE) do { \
        pthread_mutex_lock(&mutex); \
        int verdict = judge(KIND, PATH); \
        if (verdict == FAIL) { result = -1; errno = plan.error; } else { CALL; } \
        NOTE; \
        after(verdict); \
    } while (0)

/* A call that may wait, or only looks: made outside the lock. */
#define LOOK(KIND, PATH, CALL, FAILURE) do { \
        pthread_mutex_lock(&mutex); \
        int verdict = judge(KIND, PATH), error = plan.error; \
        pthread_mutex_unlock(&mutex); \
        if (verdict == FAIL) { result = FAILURE; errno = error; } else { CALL; } \
        if (verdict == KILL_AFTER) kill(getpid(), SIGKILL); \
    } while (0)

/* ---- opening and closing -------------------------------------------------------------------------------------- */

#define MODE(flags) mode_t mode = 0; if ((flags) & (O_CREAT | __O_TMPFILE)) { \
        va_list rest; va_start(rest, flags); mode = va_arg(rest, mode_t); va_end(rest); }

static int opening(int dirfd, const char *path, int flags, mode_t mode) {
    REAL(openat64);
    char full[PATH_MAX];
    if (!below_root(dirfd, path, full)) return real(dirfd, path, flags, mode);
    int result;
    CHANGE(OPEN, full, result = real(dirfd, path, flags, mode); if (result >= 0) remember(result, full, ++last_handle),
           note(OPEN, full, "", result < 0 ? 0 : last_handle, 0, result, flags, "", 0));
    return result;
}

int open(const char *path, int flags, ...) { MODE(flags) return opening(AT_FDCWD, path, flags, mode); }
int open64(const char *path, int flags, ...) { MODE(flags) return opening(AT_FDCWD, path, flags, mode); }
int openat(int dirfd, const char *path, int flags, ...) { MODE(flags) return opening(dirfd, path, flags, mode); }
int openat64(int dirfd, const char *path, int flags, ...) { MODE(flags) return opening(dirfd, path, flags, mode); }
int creat(const char *path, mode_t mode) { return opening(AT_FDCWD, path, O_CREAT | O_WRONLY | O_TRUNC, mode); }
int creat64(const char *path, mode_t mode) { return opening(AT_FDCWD, path, O_CREAT | O_WRONLY | O_TRUNC, mode); }

int close(int fd) {
    REAL(close);
    if (!ours(fd)) return real(fd);
    int result;
    /* Linux frees the descriptor even when close fails, so a spoiled one must too. */
    pthread_mutex_lock(&mutex);
    int verdict = judge(CLOSE, fd_path(fd));
    note(CLOSE, fd_path(fd), "", fd_handle(fd), 0, 0, 0, "", 0);
    remember(fd, NULL, 0);
    result = real(fd);
    if (verdict == FAIL) { result = -1; errno = plan.error; }
    after(verdict);
    return result;
}

static int copied(int from, int to) {
    if (to >= 0 && active()) {
        pthread_mutex_lock(&mutex);
        remember(to, fd_path(from), fd_handle(from));
        pthread_mutex_unlock(&mutex);
    }
    return to;
}

int dup(int fd) { REAL(dup); return copied(fd, real(fd)); }
int dup2(int fd, int to) { REAL(dup2); return copied(fd, real(fd, to)); }
int dup3(int fd, int to, int flags) { REAL(dup3); return copied(fd, real(fd, to, flags)); }

/* ---- reading and writing -------------------------------------------------------------------------------------- */

ssize_t read(int fd, void *buffer, size_t size) {
    REAL(read);
    if (!ours(fd)) return real(fd, buffer, size);
    ssize_t result;
    LOOK(READ, fd_path(fd), result = real(fd, buffer, size), -1);
    return result;
}

ssize_t pread64(int fd, void *buffer, size_t size, off64_t offset) {
    REAL(pread64);
    if (!ours(fd)) return real(fd, buffer, size, offset);
    ssize_t result;
    LOOK(READ, fd_path(fd), result = real(fd, buffer, size, offset), -1);
    return result;
}
ssize_t pread(int fd, void *buffer, size_t size, off_t offset) { return pread64(fd, buffer, size, offset); }

#define WRITTEN(at) note(WRITE, fd_path(fd), "", fd_handle(fd), result < 0 ? 0 : (at), result, 0, buffer, \
                         result < 0 ? 0 : result)
#define HALF(size) (verdict == SHORT && (size) > 1 ? (size) / 2 : (size))

ssize_t write(int fd, const void *buffer, size_t size) {
    REAL(write);
    if (!ours(fd)) return real(fd, buffer, size);
    ssize_t result;
    CHANGE(WRITE, fd_path(fd), result = real(fd, buffer, HALF(size)), WRITTEN(lseek(fd, 0, SEEK_CUR) - result));
    return result;
}

ssize_t pwrite64(int fd, const void *buffer, size_t size, off64_t offset) {
    REAL(pwrite64);
    if (!ours(fd)) return real(fd, buffer, size, offset);
    ssize_t result;
    CHANGE(WRITE, fd_path(fd), result = real(fd, buffer, HALF(size), offset), WRITTEN(offset));
    return result;
}
ssize_t pwrite(int fd, const void *buffer, size_t size, off_t offset) { return pwrite64(fd, buffer, size, offset); }

ssize_t writev(int fd, const struct iovec *parts, int count) {
    REAL(writev);
    if (!ours(fd)) return real(fd, parts, count);
    ssize_t total = 0;
    for (int i = 0; i < count; i++) {
        ssize_t n = write(fd, parts[i].iov_base, parts[i].iov_len);
        if (n < 0) return total ? total : n;
        total += n;
        if ((size_t)n < parts[i].iov_len) break;
    }
    return total;
}

/* Copies inside the kernel have no data to log: callers fall back to read and write. */
ssize_t sendfile64(int out, int in, off64_t *offset, size_t size) {
    REAL(sendfile64);
    if (ours(out)) { errno = ENOSYS; return -1; }
    return real(out, in, offset, size);
}
ssize_t copy_file_range(int in, off64_t *from, int out, off64_t *to, size_t size, unsigned flags) {
    REAL(copy_file_range);
    if (ours(out)) { errno = ENOSYS; return -1; }
    return real(in, from, out, to, size, flags);
}

#define ON_FD(KIND, CALL, SIZE) \
    if (!ours(fd)) return CALL; \
    int result; \
    CHANGE(KIND, fd_path(fd), result = CALL, note(KIND, fd_path(fd), "", fd_handle(fd), SIZE, result, 0, "", 0)); \
    return result

int fsync(int fd) { REAL(fsync); ON_FD(SYNC, real(fd), 0); }
int fdatasync(int fd) { REAL(fdatasync); ON_FD(SYNC, real(fd), 0); }
int ftruncate64(int fd, off64_t size) { REAL(ftruncate64); ON_FD(TRUNCATE, real(fd, size), size); }
int ftruncate(int fd, off_t size) { return ftruncate64(fd, size); }
static int allocated(int fd, off64_t at, off64_t n) { REAL(posix_fallocate64); ON_FD(ALLOCATE, real(fd, at, n), at + n); }
int posix_fallocate64(int fd, off64_t at, off64_t n) {
    int result = allocated(fd, at, n);
    return result < 0 ? errno : result; /* the one call that returns its error */
}
int posix_fallocate(int fd, off_t at, off_t n) { return posix_fallocate64(fd, at, n); }
int fallocate64(int fd, int mode, off64_t at, off64_t n) { REAL(fallocate64); ON_FD(ALLOCATE, real(fd, mode, at, n), at + n); }
int fallocate(int fd, int mode, off_t at, off_t n) { return fallocate64(fd, mode, at, n); }

/* ---- names ---------------------------------------------------------------------------------------------------- */

#define ON_NAME(KIND, DIRFD, PATH, CALL) \
    char full[PATH_MAX]; \
    if (!below_root(DIRFD, PATH, full)) return CALL; \
    int result; \
    CHANGE(KIND, full, result = CALL, note(KIND, full, "", 0, 0, result, 0, "", 0)); \
    return result

int mkdir(const char *path, mode_t mode) { REAL(mkdir); ON_NAME(MKDIR, AT_FDCWD, path, real(path, mode)); }
int mkdirat(int dirfd, const char *path, mode_t mode) { REAL(mkdirat); ON_NAME(MKDIR, dirfd, path, real(dirfd, path, mode)); }
int rmdir(const char *path) { REAL(rmdir); ON_NAME(RMDIR, AT_FDCWD, path, real(path)); }
int unlink(const char *path) { REAL(unlink); ON_NAME(UNLINK, AT_FDCWD, path, real(path)); }
int unlinkat(int dirfd, const char *path, int flags) {
    REAL(unlinkat);
    ON_NAME(flags & AT_REMOVEDIR ? RMDIR : UNLINK, dirfd, path, real(dirfd, path, flags));
}

#define ON_TWO(KIND, CALL) \
    char one[PATH_MAX], two[PATH_MAX]; \
    int first = below_root(from, old, one), second = below_root(to, new, two); \
    if (!first && !second) return CALL; \
    int result; \
    CHANGE(KIND, two, result = CALL, note(KIND, one, two, 0, 0, result, 0, "", 0)); \
    return result

int renameat(int from, const char *old, int to, const char *new) { REAL(renameat); ON_TWO(RENAME, real(from, old, to, new)); }
int rename(const char *old, const char *new) { return renameat(AT_FDCWD, old, AT_FDCWD, new); }
int linkat(int from, const char *old, int to, const char *new, int flags) {
    REAL(linkat);
    ON_TWO(LINK, real(from, old, to, new, flags));
}
int link(const char *old, const char *new) { return linkat(AT_FDCWD, old, AT_FDCWD, new, 0); }

/* ---- looking, listing, locking, mapping: for faults ----------------------------------------------------------- */

#define LOOK_NAME(DIRFD, CALL) \
    char full[PATH_MAX]; \
    if (!below_root(DIRFD, path, full)) return CALL; \
    int result; \
    LOOK(STAT, full, result = CALL, -1); \
    return result

int stat(const char *path, struct stat *s) { REAL(stat); LOOK_NAME(AT_FDCWD, real(path, s)); }
int stat64(const char *path, struct stat64 *s) { REAL(stat64); LOOK_NAME(AT_FDCWD, real(path, s)); }
int lstat(const char *path, struct stat *s) { REAL(lstat); LOOK_NAME(AT_FDCWD, real(path, s)); }
int lstat64(const char *path, struct stat64 *s) { REAL(lstat64); LOOK_NAME(AT_FDCWD, real(path, s)); }
int fstatat(int fd, const char *path, struct stat *s, int flags) { REAL(fstatat); LOOK_NAME(fd, real(fd, path, s, flags)); }
int fstatat64(int fd, const char *path, struct stat64 *s, int flags) { REAL(fstatat64); LOOK_NAME(fd, real(fd, path, s, flags)); }
int access(const char *path, int mode) { REAL(access); LOOK_NAME(AT_FDCWD, real(path, mode)); }
int faccessat(int fd, const char *path, int mode, int flags) { REAL(faccessat); LOOK_NAME(fd, real(fd, path, mode, flags)); }

#define LOOK_FD(KIND, CALL, FAILURE, TYPE) \
    if (!ours(fd)) return CALL; \
    TYPE result; \
    LOOK(KIND, fd_path(fd), result = CALL, FAILURE); \
    return result

int fstat(int fd, struct stat *s) { REAL(fstat); LOOK_FD(STAT, real(fd, s), -1, int); }
int fstat64(int fd, struct stat64 *s) { REAL(fstat64); LOOK_FD(STAT, real(fd, s), -1, int); }
int flock(int fd, int how) { REAL(flock); LOOK_FD(LOCK, real(fd, how), -1, int); }
void *mmap64(void *at, size_t size, int protection, int flags, int fd, off64_t offset) {
    REAL(mmap64);
    LOOK_FD(MAP, real(at, size, protection, flags, fd, offset), MAP_FAILED, void *);
}
void *mmap(void *at, size_t size, int protection, int flags, int fd, off_t offset) {
    return mmap64(at, size, protection, flags, fd, offset);
}

static int locking(int fd, int command, void *argument) {
    REAL(fcntl64);
    if (command == F_DUPFD || command == F_DUPFD_CLOEXEC) return copied(fd, real(fd, command, argument));
    if (command != F_SETLK && command != F_SETLKW && command != F_GETLK) return real(fd, command, argument);
    LOOK_FD(LOCK, real(fd, command, argument), -1, int);
}

#define ARGUMENT(last) va_list rest; va_start(rest, last); void *argument = va_arg(rest, void *); va_end(rest)
int fcntl(int fd, int command, ...) { ARGUMENT(command); return locking(fd, command, argument); }
int fcntl64(int fd, int command, ...) { ARGUMENT(command); return locking(fd, command, argument); }

DIR *opendir(const char *path) {
    REAL(opendir);
    char full[PATH_MAX];
    if (!below_root(AT_FDCWD, path, full)) return real(path);
    DIR *result;
    LOOK(LIST, full, result = real(path), NULL);
    if (result) {
        pthread_mutex_lock(&mutex);
        remember(dirfd(result), full, 0);
        pthread_mutex_unlock(&mutex);
    }
    return result;
}
DIR *fdopendir(int fd) { REAL(fdopendir); LOOK_FD(LIST, real(fd), NULL, DIR *); }
struct dirent64 *readdir64(DIR *listing) {
    REAL(readdir64);
    int fd = dirfd(listing);
    LOOK_FD(LIST, real(listing), NULL, struct dirent64 *);
}
int closedir(DIR *listing) {
    REAL(closedir);
    if (ours(dirfd(listing))) {
        pthread_mutex_lock(&mutex);
        remember(dirfd(listing), NULL, 0);
        pthread_mutex_unlock(&mutex);
    }
    return real(listing);
}

/* ---- the clock: two runs of one history shall write the same bytes ------------------------------------------- */

int clock_gettime(clockid_t id, struct timespec *now) {
    REAL(clock_gettime);
    if (id != CLOCK_REALTIME || !clock_us || clock_owner != getpid()) return real(id, now);
    now->tv_sec = clock_us / 1000000;
    now->tv_nsec = clock_us % 1000000 * 1000;
    return 0;
}
int gettimeofday(struct timeval *now, void *zone) {
    REAL(gettimeofday);
    if (!clock_us || clock_owner != getpid()) return real(now, zone);
    now->tv_sec = clock_us / 1000000;
    now->tv_usec = clock_us % 1000000;
    return 0;
}
