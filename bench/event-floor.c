/*
 * What an event channel send costs at least: the three uncontended atomic operations that set the
 * pending bit, the selector bit and the upcall flag. Prints how many such triples a second.
 */
#include <stdio.h>
#include <time.h>

static unsigned long pending[64], selector;
static unsigned char upcall;

static double seconds(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec + now.tv_nsec / 1e9;
}

int main(void)
{
	const unsigned long count = 20000000;
	double start = seconds();

	for (unsigned long i = 0; i < count; i++) {
		unsigned long port = i & 4095;

		__atomic_fetch_or(&pending[port >> 6], 1ul << (port & 63), __ATOMIC_SEQ_CST);
		__atomic_fetch_or(&selector, 1ul << (port >> 6), __ATOMIC_SEQ_CST);
		__atomic_exchange_n(&upcall, 1, __ATOMIC_SEQ_CST);
	}
	printf("%.0f\n", count / (seconds() - start));
	return 0;
}
