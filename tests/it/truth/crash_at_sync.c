/* Kills the process with signal 9 right after its CRASH_AT_SYNC-th fsync or fdatasync, counted from when the file
 * CRASH_WHEN is there. Each commit of the ledger ends with one, so that a test can go through all states in which a
 * crash may leave the file. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

static int left;
static const char *when;

__attribute__((constructor)) static void begin(void) {
    const char *crash = getenv("CRASH_AT_SYNC");
    left = crash ? atoi(crash) : 0;
    when = getenv("CRASH_WHEN");
}

static int counted(const char *name, int file) {
    int (*real)(int) = (int (*)(int))dlsym(RTLD_NEXT, name);
    int result = real(file);
    int counts = when && access(when, F_OK) == 0;
    if (counts && __atomic_sub_fetch(&left, 1, __ATOMIC_SEQ_CST) == 0)
        kill(getpid(), SIGKILL);
    return result;
}

int fsync(int file) { return counted("fsync", file); }
int fdatasync(int file) { return counted("fdatasync", file); }
