/* SPDX-License-Identifier: BSD-3-Clause
 * The content of a message: of DATA (RFC 5321 4.5.2) in both directions, dot-unstuffing with what a
 * receiver has to know about the content, and dot-stuffing; of BDAT (RFC 3030), where octets stand
 * for themselves.  Streaming, equal at every split, no allocation.  One owner. */
#pragma once
#include "dataplane/base/buf.h"

/* What is wrong with the content; the message is refused after its end. */
enum data_fault {
	DATA_BARE_CR = 1 << 0,
	DATA_BARE_LF = 1 << 1,
	DATA_NUL = 1 << 2,
	DATA_TOO_BIG = 1 << 3,
	DATA_LOOP = 1 << 4,   /* more Received fields than the limit */
	DATA_HEADER = 1 << 5, /* the header is larger than header_max */
};

/* Runs of content, in order; views into the input.  Nothing comes any more after the first fault,
 * and of a message that is too big at most the limit. */
typedef void (*data_sink)(void *ctx, struct bytes run);

struct data_decoder {
	uint8_t state;  /* enum of data.c */
	uint8_t faults; /* enum data_fault */
	uint8_t odd;    /* DATA_BINARY: what would have been faults */
	bool chunked;   /* of BDAT: no dots, the end is told by data_decoder_end */
	bool binary;
	bool in_header;    /* the empty line has not come */
	uint8_t match;     /* octets of "received:" the header line agrees with */
	uint32_t received; /* Received fields */
	uint32_t received_max;
	uint32_t crc;        /* CRC-32C of what went to the sink */
	uint32_t header_max; /* octets; set behind the init; 0: no limit of its own */
	uint64_t size;       /* octets of content */
	uint64_t size_max;
	uint64_t header_bytes; /* see struct message; final after the end */
};

enum data_verdict { DATA_MORE, DATA_END };

enum data_form {
	DATA_DOTTED,
	DATA_CHUNKED,
	DATA_BINARY /* chunked, and behind the header every octet is good: BODY=BINARYMIME */
};

/* received_max: fields allowed. */
void data_decoder_init(
	struct data_decoder *d, enum data_form form, uint64_t size_max, uint32_t received_max);
/* Decode in; *used_r: octets taken, all of them with DATA_MORE, else up to and including the end of
 * data.  Emits at most in.n + 1 octets. */
enum data_verdict data_decode(
	struct data_decoder *d, struct bytes in, data_sink sink, void *ctx, size_t *used_r);
/* Not DATA_DOTTED: the last octet has come. */
void data_decoder_end(struct data_decoder *d);

/* Dot-stuffing.  Zero it before each message. */
struct data_encoder {
	bool in_line; /* the last octet was not an LF */
	bool cr;      /* the last octet was a CR */
};

/* Room that data_encode needs for n octets at most, and data_encode_end. */
#define DATA_ENCODED_MAX(n) ((n) + ((n) + 2) / 3 + 1)
#define DATA_ENCODED_END    5
/* Append in to out, which has DATA_ENCODED_MAX(in.n) octets of room.  Returns 0; -EINVAL: a CR or
 * LF stands alone, which must never leave this host. */
int data_encode(struct data_encoder *e, struct bytes in, struct buf *out) WARN_UNUSED;
/* Append the end of data, with a CRLF before it if the last line has none.  Errors as above. */
int data_encode_end(struct data_encoder *e, struct buf *out) WARN_UNUSED;
