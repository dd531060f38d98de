/* SPDX-License-Identifier: BSD-3-Clause */
#include "dataplane/base/log.h"
#include <errno.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <unistd.h>
#include "dataplane/base/clock.h"

#define LOG_THREADS_MAX 128 /* chosen: more than 64 cores and their helpers */
#define LOG_RING_LINES  256 /* chosen: 256 KiB per thread */
#define LOG_DRAIN_MAX   4096

struct log_line {
	uint16_t n;
	char text[LOG_LINE_MAX];
};

/* Single producer (the thread), single consumer (main). */
struct log_ring {
	char thread[16];
	alignas(CACHE_LINE) atomic_uint head; /* producer */
	atomic_ulong dropped;
	alignas(CACHE_LINE) atomic_uint tail; /* consumer */
	struct log_line lines[LOG_RING_LINES];
};

static struct log_ring *rings[LOG_THREADS_MAX];
static atomic_uint ring_count;
static pthread_mutex_t ring_lock = PTHREAD_MUTEX_INITIALIZER;
static atomic_int log_fd = STDERR_FILENO;
static atomic_int log_level = LOG_INFO;
static __thread struct log_ring *my_ring;

void log_thread_init(const char *thread)
{
	struct log_ring *r = aligned_alloc(CACHE_LINE, sizeof(*r));

	if (!r)
		return;
	memset(r, 0, sizeof(*r));
	snprintf(r->thread, sizeof(r->thread), "%s", thread);
	pthread_mutex_lock(&ring_lock);
	unsigned n = atomic_load(&ring_count);
	if (n < LOG_THREADS_MAX) {
		rings[n] = r;
		atomic_store_explicit(&ring_count, n + 1, memory_order_release);
		my_ring = r;
	} else {
		free(r);
	}
	pthread_mutex_unlock(&ring_lock);
}

void log_set_level(enum log_level level)
{
	atomic_store(&log_level, (int)level);
}

enum log_level log_get_level(void)
{
	return (enum log_level)atomic_load_explicit(&log_level, memory_order_relaxed);
}

void log_set_fd(int fd)
{
	atomic_store(&log_fd, fd);
}

static void write_all(const char *p, size_t n)
{
	while (n) {
		ssize_t w = write(atomic_load(&log_fd), p, n);
		if (w < 0 && errno == EINTR)
			continue;
		if (w <= 0)
			return; /* a log that cannot be written must not stop the mail */
		p += w;
		n -= (size_t)w;
	}
}

static size_t format_line(
	char *out, enum log_level level, const char *room, const char *format, va_list ap)
{
	static const char *const names[] = {"ERROR", "WARN", "INFO", "DEBUG"};
	uint64_t ms = clock_wall_ms();
	time_t sec = (time_t)(ms / MS_PER_SEC);
	struct tm tm;

	gmtime_r(&sec, &tm);
	size_t n = strftime(out, LOG_LINE_MAX, "%Y-%m-%dT%H:%M:%S", &tm);
	n += (size_t)snprintf(out + n, LOG_LINE_MAX - n,
		".%03uZ %-5s %s: ", (unsigned)(ms % MS_PER_SEC), names[level], room);
	int w = vsnprintf(out + n, LOG_LINE_MAX - n - 1, format, ap);
	if (w > 0)
		n = MIN(n + (size_t)w, (size_t)LOG_LINE_MAX - 2);
	out[n++] = '\n';
	return n;
}

void log_write(enum log_level level, const char *room, const char *format, ...)
{
	struct log_ring *r = my_ring;
	va_list ap;

	if (level > log_get_level())
		return;
	va_start(ap, format);
	if (!r) {
		char line[LOG_LINE_MAX];
		write_all(line, format_line(line, level, room, format, ap));
	} else {
		unsigned head = atomic_load_explicit(&r->head, memory_order_relaxed);
		if (head - atomic_load_explicit(&r->tail, memory_order_acquire) == LOG_RING_LINES) {
			atomic_fetch_add_explicit(&r->dropped, 1, memory_order_relaxed);
		} else {
			struct log_line *l = &r->lines[head % LOG_RING_LINES];
			l->n = (uint16_t)format_line(l->text, level, room, format, ap);
			atomic_store_explicit(&r->head, head + 1, memory_order_release);
		}
	}
	va_end(ap);
}

unsigned log_drain(void)
{
	unsigned total = 0, n = atomic_load_explicit(&ring_count, memory_order_acquire);

	for (unsigned i = 0; i < n; i++) {
		struct log_ring *r = rings[i];
		unsigned head = atomic_load_explicit(&r->head, memory_order_acquire);
		unsigned tail = atomic_load_explicit(&r->tail, memory_order_relaxed);
		for (; tail != head && total < LOG_DRAIN_MAX; tail++, total++) {
			struct log_line *l = &r->lines[tail % LOG_RING_LINES];
			write_all(l->text, l->n);
			atomic_store_explicit(&r->tail, tail + 1, memory_order_release);
		}
	}
	return total;
}

void log_flush(void)
{
	while (log_drain() > 0) {
	}
}

uint64_t log_dropped(void)
{
	uint64_t sum = 0;
	unsigned n = atomic_load_explicit(&ring_count, memory_order_acquire);

	for (unsigned i = 0; i < n; i++)
		sum += atomic_load_explicit(&rings[i]->dropped, memory_order_relaxed);
	return sum;
}

const char *log_escape(struct bytes in, char *out, size_t cap)
{
	size_t n = 0;

	if (cap == 0)
		return out;
	for (size_t i = 0; i < in.n; i++) {
		uint8_t c = in.p[i];
		bool plain = c > 0x20 && c < 0x7f && c != '"' && c != '\\';
		size_t need = plain ? 1 : 4;
		if (n + need + 4 > cap) { /* room for "..." and the NUL */
			if (n + 4 <= cap) {
				memcpy(out + n, "...", 3);
				n += 3;
			}
			break;
		}
		if (plain)
			out[n++] = (char)c;
		else
			n += (size_t)snprintf(out + n, cap - n, "\\x%02x", c);
	}
	out[n] = '\0';
	return out;
}
