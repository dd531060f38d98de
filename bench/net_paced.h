/* SPDX-License-Identifier: BSD-3-Clause
 * Requests at a given rate, and how long each took: from when it was due, so that one which had to
 * wait for the one before it counts with that wait.  OWNER: the client's core. */
#pragma once
#include "bench/hist.h"
#include "bench/net_load.h"

#define NET_PACED_MAX    64   /* connections */
#define NET_PACED_OCTETS 1000 /* of a request, there and back */

struct net_paced {
	struct {
		struct net_session *session;
		uint64_t asked_us; /* 0: has nothing to wait for */
	} slot[NET_PACED_MAX];
	unsigned n;
	uint64_t next_ns;
	struct hist hist;
	/* orders of main */
	_Atomic uint32_t rate;  /* requests in a second, on all connections together; 0: no limit */
	_Atomic uint32_t clear; /* forget the times so far */
};

/* A connection is open; false: there are too many. */
bool net_paced_open(struct net_paced *p, struct net_session *session);
/* It ends. */
void net_paced_end(struct net_paced *p, const struct net_session *session);
/* All of an answer has come. */
void net_paced_answer(struct net_paced *p, struct net_session *session);
/* In each lap: asks what is due.  Returns how many. */
unsigned net_paced_poll(struct net_paced *p, uint64_t now_us);
/* One that waits for nothing, or NULL. */
struct net_session *net_paced_idle(const struct net_paced *p);
