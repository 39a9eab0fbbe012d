/* What the interposer remembers: which descriptors are ours, the counts, the fault plan, the log; and the functions
 * through which interpose.py reads and sets them. Included by interpose.c alone, which needs it for every call.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

enum kind { OPEN, CLOSE, READ, WRITE, SYNC, TRUNCATE, ALLOCATE, RENAME, LINK, UNLINK, MKDIR, RMDIR, STAT, LIST, LOCK,
            MAP, MARK, KINDS };
const char *const interpose_kinds =
    "open close read write sync truncate allocate rename link unlink mkdir rmdir stat list lock map mark";
static const uint64_t QUIET = 1 << READ | 1 << STAT | 1 << LIST | 1 << LOCK | 1 << MAP; /* change nothing on disk */

enum action { PASS, FAIL, SHORT, KILL_BEFORE, KILL_AFTER };

#define MOST_FDS 65536
struct opened { char *path; int64_t handle; };
static struct opened table[MOST_FDS];
static int64_t last_handle;

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static char root[PATH_MAX];
static size_t root_length;
static volatile pid_t owner; /* 0: track nothing */
static volatile int64_t clock_us;
static volatile pid_t clock_owner;

static int recording;
static char *log_bytes;
static size_t log_size, log_room;
static uint64_t counts[KINDS];

static struct {
    int action, error, forever;
    uint64_t nth, kinds, seen, fired;
    char part[PATH_MAX];
} plan;

#define REAL(name) static __typeof__(name) *real; if (!real) real = dlsym(RTLD_NEXT, #name)

/* ---- which calls are ours ------------------------------------------------------------------------------------- */

static int active(void) { return owner && owner == getpid(); }

static const char *fd_path(int fd) { return fd >= 0 && fd < MOST_FDS ? table[fd].path : NULL; }

static int64_t fd_handle(int fd) { return fd >= 0 && fd < MOST_FDS ? table[fd].handle : 0; }

static void remember(int fd, const char *path, int64_t handle) {
    if (fd < 0 || fd >= MOST_FDS) return;
    free(table[fd].path);
    table[fd].path = path ? strdup(path) : NULL;
    table[fd].handle = handle;
}

/* Joins and cleans a path without asking the file system. Symbolic links are not followed: the store makes none. */
static int below_root(int dirfd, const char *path, char *out) {
    if (!active() || !path) return 0;
    char joined[2 * PATH_MAX] = "";
    if (path[0] != '/') {
        char link[64];
        ssize_t n;
        if (dirfd == AT_FDCWD) {
            if (!getcwd(joined, PATH_MAX)) return 0;
        } else if (fd_path(dirfd)) {
            strcpy(joined, fd_path(dirfd));
        } else {
            link[0] = 0;
            strcat(link, "/proc/self/fd/");
            char digits[12], *at = digits + 11;
            for (*at = 0; dirfd > 0 || at == digits + 11; dirfd /= 10) *--at = '0' + dirfd % 10;
            strcat(link, at);
            if ((n = readlink(link, joined, PATH_MAX - 1)) < 0) return 0;
            joined[n] = 0;
        }
        strcat(joined, "/");
    }
    if (strlen(joined) + strlen(path) >= sizeof joined) return 0;
    strcat(joined, path);
    size_t length = 0;
    for (char *save, *part = strtok_r(joined, "/", &save); part; part = strtok_r(NULL, "/", &save)) {
        if (!strcmp(part, ".")) continue;
        if (!strcmp(part, "..")) {
            while (length && out[--length] != '/') ;
            continue;
        }
        if (length + strlen(part) + 2 > PATH_MAX) return 0;
        out[length++] = '/';
        strcpy(out + length, part);
        length += strlen(part);
    }
    out[length] = 0;
    return !strncmp(out, root, root_length) && (out[root_length] == '/' || out[root_length] == 0);
}

static int ours(int fd) { return fd_path(fd) && active(); }

/* ---- counting, faults, and the log; all under the lock -------------------------------------------------------- */

static int judge(enum kind kind, const char *path) {
    counts[kind]++;
    if (plan.action == PASS || !(plan.kinds >> kind & 1) || !strstr(path, plan.part)) return PASS;
    uint64_t seen = ++plan.seen;
    if (seen != plan.nth && !(plan.forever && seen > plan.nth)) return PASS;
    plan.fired++;
    if (plan.action == KILL_BEFORE) kill(getpid(), SIGKILL);
    return plan.action;
}

static void append(const void *bytes, size_t size) {
    if (log_size + size > log_room) {
        log_room = 2 * (log_size + size) + 65536;
        if (!(log_bytes = realloc(log_bytes, log_room))) abort();
    }
    if (size) memcpy(log_bytes + log_size, bytes, size);
    log_size += size;
}

static void note(enum kind kind, const char *path, const char *path2, int64_t handle, int64_t offset, int64_t result,
                 int64_t flags, const void *data, size_t size) {
    if (!recording || (recording == 1 && (QUIET >> kind & 1))) return;
    int64_t head[9] = {kind, result < 0 ? errno : 0, handle, offset, result, flags, strlen(path), strlen(path2), size};
    int saved = errno;
    append(head, sizeof head);
    append(path, strlen(path));
    append(path2, strlen(path2));
    append(data, size);
    errno = saved;
}

static void after(int verdict) {
    if (verdict == KILL_AFTER) kill(getpid(), SIGKILL);
    pthread_mutex_unlock(&mutex);
}

/* ---- for interpose.py ----------------------------------------------------------------------------------------- */

void interpose_track(const char *folder) {
    pthread_mutex_lock(&mutex);
    owner = 0;
    for (int fd = 0; fd < MOST_FDS; fd++) remember(fd, NULL, 0);
    memset(counts, 0, sizeof counts);
    memset(&plan, 0, sizeof plan);
    recording = 0;
    log_size = 0;
    if (folder && strlen(folder) < sizeof root) {
        strcpy(root, folder);
        root_length = strlen(root);
        owner = getpid();
    }
    pthread_mutex_unlock(&mutex);
}

void interpose_record(int how) {
    pthread_mutex_lock(&mutex);
    recording = how;
    log_size = 0;
    pthread_mutex_unlock(&mutex);
}

/* Hands the log over; the caller frees it with interpose_free. */
char *interpose_take(size_t *size) {
    pthread_mutex_lock(&mutex);
    char *taken = log_bytes;
    *size = log_size;
    log_bytes = NULL;
    log_size = log_room = 0;
    pthread_mutex_unlock(&mutex);
    return taken;
}
void interpose_free(char *taken) { free(taken); }

void interpose_mark(const char *text) {
    pthread_mutex_lock(&mutex);
    note(MARK, text, "", 0, 0, 0, 0, "", 0);
    pthread_mutex_unlock(&mutex);
}

uint64_t interpose_count(int kind) {
    uint64_t sum = 0;
    pthread_mutex_lock(&mutex);
    for (int each = 0; each < KINDS; each++) sum += kind < 0 || kind == each ? counts[each] : 0;
    pthread_mutex_unlock(&mutex);
    return sum;
}

void interpose_arm(int action, uint64_t nth, uint64_t kinds, int error, int forever, const char *part) {
    pthread_mutex_lock(&mutex);
    memset(&plan, 0, sizeof plan);
    plan.action = action;
    plan.nth = nth;
    plan.kinds = kinds;
    plan.error = error;
    plan.forever = forever;
    strncpy(plan.part, part, sizeof plan.part - 1);
    pthread_mutex_unlock(&mutex);
}

uint64_t interpose_fired(void) { return plan.fired; }
void interpose_clock(int64_t microseconds) {
    clock_owner = getpid();
    clock_us = microseconds;
}

/* A child forked while another thread held the lock could never take it. */
static void renew_lock(void) { pthread_mutex_init(&mutex, NULL); }
__attribute__((constructor)) static void prepare(void) { pthread_atfork(NULL, NULL, renew_lock); }
