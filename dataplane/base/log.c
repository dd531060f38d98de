/* SPDX-License-Identifier: BSD-3-Clause */
#include "dataplane/base/log.h"
#include <errno.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <unistd.h>
#include "dataplane/base/buf.h"
#include "dataplane/base/clock.h"
#include "dataplane/base/codec.h"

#define LOG_THREADS_MAX 128       /* chosen: more than 64 cores and their helpers */
#define LOG_RING_BYTES  (1 << 20) /* chosen: some 7,000 lines; main drains every 50 ms */
#define LOG_DRAIN_MAX   16384     /* lines in one call */
#define LOG_OUT_BYTES   65536     /* written at once */

/* Single producer (the thread), single consumer (main).  A line is its length in two octets and its
 * text; positions run on and are taken modulo the size. */
struct log_ring {
	char thread[16];
	alignas(CACHE_LINE) atomic_uint head; /* producer */
	atomic_ulong dropped;
	alignas(CACHE_LINE) atomic_uint tail; /* consumer */
	uint8_t data[LOG_RING_BYTES];
};
static_assert((LOG_RING_BYTES & (LOG_RING_BYTES - 1)) == 0, "positions wrap at 2^32");

static struct log_ring *rings[LOG_THREADS_MAX];
static atomic_uint ring_count;
static pthread_mutex_t ring_lock = PTHREAD_MUTEX_INITIALIZER;
static atomic_int log_fd = STDERR_FILENO;
static atomic_int log_level = LOG_INFO;
static __thread struct log_ring *my_ring;

void log_thread_init(const char *thread)
{
	struct log_ring *r = aligned_alloc(CACHE_LINE, sizeof(*r));

	/* for top -H; the main thread's name is the program's, for ps */
	if (gettid() != getpid())
		pthread_setname_np(pthread_self(), thread);
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

#define DATE_TEXT "2026-01-01T00:00:00"
#define DATE_N    (sizeof(DATE_TEXT) - 1)

/* The date is made once a second. */
static void put_date(struct buf *out, uint64_t ms)
{
	static __thread char text[sizeof(DATE_TEXT)];
	static __thread time_t of = -1;
	time_t sec = (time_t)(ms / MS_PER_SEC);
	struct tm tm;

	if (sec != of) {
		gmtime_r(&sec, &tm);
		if (strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%S", &tm) != DATE_N)
			text[0] = '\0'; /* past the year 9999 */
		of = sec;
	}
	buf_str(out, text);
	buf_byte(out, '.');
	dec_u64(out, ms % MS_PER_SEC, 3);
}

/* What stands in front of a line's text; returns its octets. */
static size_t line_begin(char *line, enum log_level level, const char *room)
{
	static const char *const names[] = {"Z ERROR ", "Z WARN  ", "Z INFO  ", "Z DEBUG "};
	struct buf b;

	buf_init(&b, line, LOG_LINE_MAX - 2);
	put_date(&b, clock_wall_ms());
	buf_str(&b, names[level]);
	buf_str(&b, room);
	buf_str(&b, ": ");
	return b.n;
}

static void ring_copy_in(struct log_ring *r, unsigned at, const void *from, size_t n)
{
	size_t offset = at % LOG_RING_BYTES, first = MIN(n, (size_t)LOG_RING_BYTES - offset);

	memcpy(r->data + offset, from, first);
	memcpy(r->data, (const uint8_t *)from + first, n - first);
}

static void ring_copy_out(const struct log_ring *r, unsigned at, void *to, size_t n)
{
	size_t offset = at % LOG_RING_BYTES, first = MIN(n, (size_t)LOG_RING_BYTES - offset);

	memcpy(to, r->data + offset, first);
	memcpy((uint8_t *)to + first, r->data, n - first);
}

static void ring_put(struct log_ring *r, const char *line, uint16_t n)
{
	unsigned head = atomic_load_explicit(&r->head, memory_order_relaxed);
	unsigned used = head - atomic_load_explicit(&r->tail, memory_order_acquire);

	if (LOG_RING_BYTES - used < n + sizeof(n)) {
		atomic_fetch_add_explicit(&r->dropped, 1, memory_order_relaxed);
		return;
	}
	ring_copy_in(r, head, &n, sizeof(n));
	ring_copy_in(r, head + sizeof(n), line, n);
	atomic_store_explicit(&r->head, head + (unsigned)sizeof(n) + n, memory_order_release);
}

/* n octets are there, and room for the end. */
static void line_end(char *line, size_t n)
{
	line[n++] = '\n';
	if (my_ring)
		ring_put(my_ring, line, (uint16_t)n);
	else
		write_all(line, n);
}

void log_write(enum log_level level, const char *room, const char *format, ...)
{
	char line[LOG_LINE_MAX];
	va_list ap;

	if (level > log_get_level())
		return;
	size_t n = line_begin(line, level, room);
	va_start(ap, format);
	int w = vsnprintf(line + n, sizeof(line) - n - 1, format, ap);
	va_end(ap);
	line_end(line, w > 0 ? MIN(n + (size_t)w, sizeof(line) - 2) : n);
}

void log_text(enum log_level level, const char *room, struct bytes text)
{
	char line[LOG_LINE_MAX];

	if (level > log_get_level())
		return;
	size_t n = line_begin(line, level, room), fits = MIN(text.n, sizeof(line) - 2 - n);
	memcpy(line + n, text.p, fits);
	line_end(line, n + fits);
}

/* Returns lines written, at most max. */
static unsigned ring_drain(struct log_ring *r, unsigned max)
{
	static char out[LOG_OUT_BYTES]; /* main thread only */
	unsigned head = atomic_load_explicit(&r->head, memory_order_acquire);
	unsigned tail = atomic_load_explicit(&r->tail, memory_order_relaxed);
	unsigned lines = 0;
	size_t used = 0;

	for (; tail != head && lines < max; lines++) {
		uint16_t n;
		ring_copy_out(r, tail, &n, sizeof(n));
		if (used + n > sizeof(out)) {
			write_all(out, used);
			used = 0;
		}
		ring_copy_out(r, tail + (unsigned)sizeof(n), out + used, n);
		used += n;
		tail += (unsigned)sizeof(n) + n;
		atomic_store_explicit(&r->tail, tail, memory_order_release);
	}
	write_all(out, used);
	return lines;
}

unsigned log_drain(void)
{
	unsigned total = 0, n = atomic_load_explicit(&ring_count, memory_order_acquire);

	for (unsigned i = 0; i < n; i++)
		total += ring_drain(rings[i], LOG_DRAIN_MAX - total);
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
