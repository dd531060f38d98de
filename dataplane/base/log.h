/* SPDX-License-Identifier: BSD-3-Clause
 * Logging.  Each thread writes finished lines into a ring of its own; the main thread drains the
 * rings to the log's file descriptor, so that no polling core ever writes to a file.  A full ring
 * drops the line and counts it.  Messages are `event key=value ...`; never a password or a key.
 * Values that come from a peer go through log_escape(). */
#pragma once
#include "dataplane/base/bytes.h"

enum log_level { LOG_ERROR, LOG_WARN, LOG_INFO, LOG_DEBUG };

#define LOG_LINE_MAX 1024 /* octets, chosen; longer lines are cut */

/* Give the calling thread a name (up to 15 octets; top -H shows it) and a ring (kept for the life
 * of the process).  A thread without one writes straight to the descriptor: start-up, tests and
 * tools. */
void log_thread_init(const char *thread);
void log_set_level(enum log_level level);
enum log_level log_get_level(void);
void log_set_fd(int fd);

void log_write(enum log_level level, const char *room, const char *format, ...) PRINTF(3, 4);

/* A line whose text is there already, where there is one for each message: reading a format costs
 * more than all the rest of a line.  What does not fit in LOG_LINE_MAX is cut. */
void log_text(enum log_level level, const char *room, struct bytes text);

#define log_error(room, ...) log_write(LOG_ERROR, room, __VA_ARGS__)
#define log_warn(room, ...)  log_write(LOG_WARN, room, __VA_ARGS__)
/* Arguments are computed only when somebody wants the line: there is one for each message. */
#define log_info(room, ...)                                                                        \
	do {                                                                                       \
		if (log_get_level() >= LOG_INFO)                                                   \
			log_write(LOG_INFO, room, __VA_ARGS__);                                    \
	} while (0)
#define log_debug(room, ...)                                                                       \
	do {                                                                                       \
		if (unlikely(log_get_level() >= LOG_DEBUG))                                        \
			log_write(LOG_DEBUG, room, __VA_ARGS__);                                   \
	} while (0)

/* Main thread: write out what the rings hold (bounded per call).  Returns lines written. */
unsigned log_drain(void);
/* Main thread, at exit: everything that is left. */
void log_flush(void);
uint64_t log_dropped(void);

/* Printable copy of peer-chosen octets into out[cap], NUL-terminated: control octets, quotes,
 * backslash and non-ASCII become \xNN; too long is cut with "...".  Returns out. */
const char *log_escape(struct bytes in, char *out, size_t cap);
