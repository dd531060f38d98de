/* SPDX-License-Identifier: BSD-3-Clause
 * The messages of bypost-bench: numbered, and with a checksum of their body, so that whoever gets
 * one can tell which it is and whether it is as it was sent.  Relays add header fields; the body
 * and the field that names it must stay.
 *
 *     X-Bypost-Bench: run=0123abcd seq=17 sent=123456 size=10240 crc=89abcdef check=01234567
 *
 * sent is the sender's monotonic clock, in microseconds, when the message was meant to begin; size
 * and crc are the body's; check is the CRC-32C of the field up to it. */
#pragma once
#include "bench/corpus.h"

#define LETTER_LINE        78u /* octets of a line of the body, with CRLF */
#define LETTER_HEAD_MAX    1024
#define LETTER_SUBJECT_MAX 128  /* octets with the NUL */
#define LETTER_SEEN_MAX    4096 /* octets of header that a receiver keeps */

struct letter_id {
	uint32_t run;
	uint64_t seq, sent_us;
	uint64_t size;
	uint32_t crc;
};

/* One being sent. */
struct letter {
	struct letter_id id;
	uint8_t head[LETTER_HEAD_MAX]; /* header, and the first line of the body if it fits; of a
					* corpus: the field alone */
	uint16_t head_n;
	uint8_t tail[LETTER_LINE + 2];
	uint16_t tail_n;
	struct bytes corpus;          /* what is between them; p NULL: filler */
	uint64_t filler_n, filler_at; /* octets of it, and where they begin */
	uint64_t sent;                /* octets given out */
};

/* Once, before anything else here. */
void letters_init(void);
/* size: octets of the body, at least 2.  rcpt: the first one.  subject: empty: by its number. */
void letter_make(struct letter *l, const struct letter_id *id, struct bytes from, struct bytes rcpt,
	struct bytes subject);
/* The same of a message that is there already: the field goes before its header.  size and crc are
 * the message's. */
void letter_make_of(
	struct letter *l, const struct letter_id *id, const struct corpus *c, uint32_t i);
/* Octets of the whole message. */
uint64_t letter_octets(const struct letter *l);
/* The next octets, at most want; *end_r: the last ones. */
struct bytes letter_next(struct letter *l, size_t want, bool *end_r);

enum letter_verdict {
	LETTER_GOOD,
	LETTER_ALTERED,
	LETTER_FOREIGN, /* not one of these: a bounce, say */
};

/* One being received. */
struct letter_reader {
	uint8_t header[LETTER_SEEN_MAX];
	uint16_t header_n;
	bool in_body;
	uint8_t ending; /* octets of CRLF CRLF that have come */
	uint64_t body_n;
	uint32_t crc;
};

void letter_begin(struct letter_reader *r);
void letter_feed(struct letter_reader *r, struct bytes run);
/* All was fed.  *id_r is set unless it is foreign. */
enum letter_verdict letter_end(const struct letter_reader *r, struct letter_id *id_r);
