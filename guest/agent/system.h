/* System calls of Linux on x86-64, and the few functions that a program without a C library needs. */
#pragma once
#include <asm/unistd.h>
#include <stddef.h>
#include <stdint.h>

static inline long call(long nr, long a, long b, long c, long d, long e)
{
	long result;
	register long r10 __asm__("r10") = d;
	register long r8 __asm__("r8") = e;
	__asm__ volatile("syscall"
			 : "=a"(result)
			 : "a"(nr), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8)
			 : "rcx", "r11", "memory");
	return result;
}
#define CALL0(nr) call(nr, 0, 0, 0, 0, 0)
#define CALL1(nr, a) call(nr, (long)(a), 0, 0, 0, 0)
#define CALL2(nr, a, b) call(nr, (long)(a), (long)(b), 0, 0, 0)
#define CALL3(nr, a, b, c) call(nr, (long)(a), (long)(b), (long)(c), 0, 0)
#define CALL4(nr, a, b, c, d) call(nr, (long)(a), (long)(b), (long)(c), (long)(d), 0)
#define CALL5(nr, a, b, c, d, e) call(nr, (long)(a), (long)(b), (long)(c), (long)(d), (long)(e))

/* The compiler calls these by itself. */
void *memcpy(void *to, const void *from, size_t count)
{
	void *start = to;
	__asm__ volatile("rep movsb" : "+D"(to), "+S"(from), "+c"(count) : : "memory");
	return start;
}

void *memmove(void *to, const void *from, size_t count)
{
	char *t = to;
	const char *f = from;
	if (t <= f) return memcpy(to, from, count);
	while (count-- > 0) t[count] = f[count];
	return to;
}

void *memset(void *to, int byte, size_t count)
{
	void *start = to;
	__asm__ volatile("rep stosb" : "+D"(to), "+c"(count) : "a"(byte) : "memory");
	return start;
}

static inline size_t length_of(const char *text)
{
	size_t count = 0;
	while (text[count] != 0) count++;
	return count;
}

static inline int begins_with(const char *text, const char *start, size_t count)
{
	for (size_t i = 0; i < count; i++)
		if (text[i] != start[i]) return 0;
	return 1;
}

static inline void pause_ms(long ms)
{
	struct { long seconds, ns; } time = { ms / 1000, ms % 1000 * 1000000 };
	CALL2(__NR_nanosleep, &time, 0);
}
