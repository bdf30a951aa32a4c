/* Makes a few calls by the numbers of another machine's table: compat i386|x32 chmod PATH, keyctl SERIAL, ptrace PID.
 * Ends with the error's number. */
#define _GNU_SOURCE
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#if !defined(__x86_64__)
int main(void) { return ENOSYS; }
#else
static long i386(long number, long a, long b, long c, long d) {
    long result;
    __asm__ volatile("int $0x80" : "=a"(result) : "a"(number), "b"(a), "c"(b), "d"(c), "S"(d) : "memory");
    return (int)result;
}

static long x32(long number, long a, long b, long c, long d) {
    long result;
    register long r10 __asm__("r10") = d;
    __asm__ volatile("syscall" : "=a"(result) : "a"(number | 0x40000000), "D"(a), "S"(b), "d"(c), "r"(r10)
                     : "memory", "rcx", "r11");
    return result;
}

int main(int count, char **words) {
    if (count < 4) return EINVAL;
    int old = !strcmp(words[1], "i386");
    char *low = mmap(0, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_32BIT, -1, 0);
    if (low == MAP_FAILED) return ENOMEM;
    long result;
    if (!strcmp(words[2], "chmod")) {
        strncpy(low, words[3], 4000);
        result = old ? i386(15, (long)low, 04755, 0, 0) : x32(90, (long)low, 04755, 0, 0);
    } else if (!strcmp(words[2], "keyctl")) {
        long serial = atol(words[3]);
        result = old ? i386(288, 11, serial, (long)low, 256) : x32(250, 11, serial, (long)low, 256);
        if (result > 0) fwrite(low, 1, result < 256 ? result : 256, stdout);
    } else {
        /* PTRACE_SEIZE */
        long pid = atol(words[3]);
        result = old ? i386(26, 0x4206, pid, 0, 0) : x32(521, 0x4206, pid, 0, 0);
    }
    return result < 0 ? (int)-result : 0;
}
#endif
