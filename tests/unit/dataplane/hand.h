/* SPDX-License-Identifier: BSD-3-Clause
 * A peer by hand: one stack that listens, and segments with options made and looked at by the test.
 * For features of their own; test_tcp_conn.c has the states. */
#pragma once
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include "dataplane/base/rt/eal.h"
#include "tests/sim/lone.h"

#define HAND_PORT  25
#define HAND_OURS  40000 /* port that we, the peer, send from */
#define HAND_START 5000u /* our first sequence number */

struct hand {
	struct lone lone;
	struct listener listener;
	struct stream stream;
	struct host_conf conf;
	unsigned accepts, closes, eofs;
	bool answers; /* the application says that its answer follows */
	enum stream_reason reason;
	uint8_t data[300000];
	size_t n;
	uint32_t snd, rcv; /* our next sequence number, and the stack's */
	uint32_t ts;       /* our clock; 0: no timestamps */
	uint32_t ecr;      /* the stack's latest */
	uint16_t window;
	uint8_t extra_flags; /* of every segment: ECE and the like */
};

/* Of the process. */
void hand_start(void);
void hand_init(struct hand *h);
void hand_fini(struct hand *h);
/* A segment with the timestamp, if there is one, and these options behind. */
void hand_say(struct hand *h, uint8_t flags, uint32_t seq, uint32_t ack, struct bytes payload,
	struct bytes options);
/* The next segment; its timestamp is noted.  Fails when there is none. */
struct seg hand_hear(struct hand *h);
void hand_silence(struct hand *h);
/* Open a connection from our side.  options: those of the SYN. */
void hand_handshake(struct hand *h, struct bytes options);
/* Value and echo of a segment's timestamp; false: it has none. */
bool hand_timestamp(const struct seg *s, uint32_t *val_r, uint32_t *ecr_r);
/* The stack sends n octets. */
void hand_stack_sends(struct hand *h, size_t n);
/* An ACK with SACK blocks, pairs of offsets from `base`. */
void hand_sack(struct hand *h, uint32_t ack, uint32_t base, const uint32_t *blocks, unsigned n);
struct tcp_conn *hand_conn(struct hand *h);
