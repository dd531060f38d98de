/* SPDX-License-Identifier: BSD-3-Clause
 * What the measurements of the stack run on it: a server that echoes or discards, and a client with
 * the loads.  One core each; main gives orders and reads figures through atomics.
 *
 * The first octet of a connection says what the server does with it: NET_ECHO sends everything
 * back and closes when the client does, NET_DISCARD reads. */
#pragma once
#include <stdatomic.h>
#include "dataplane/dataplane.h"

#define NET_FIRST_PORT 5000
#define NET_PORTS      32 /* all the listeners that a stack has */
#define NET_ECHO       'e'
#define NET_DISCARD    'd'

enum net_mode {
	NET_IDLE,    /* nothing but the connections that are held open */
	NET_REQUEST, /* one octet there and back, on each of `width` connections */
	NET_BULK,    /* as much as goes, on each of `width` connections */
	NET_PACED,   /* net_paced.h, on each of `width` connections */
	NET_CONNECT, /* open, 100 octets there and back, close; `width` at a time */
	NET_MODE_N
};
/* By name: "request", "bulk", "paced", "connect"; -1: none. */
int net_mode_parse(const char *name);

struct net_session {
	struct stream stream;
	union {
		uint32_t next_unused; /* not in use */
		uint32_t target;      /* a client's: what it is connected to */
	};
	uint8_t mode; /* enum net_mode; a server's: 0 until the first octet, then that */
	uint16_t due; /* octets of the answer that are still to come; NET_IDLE: it is open */
};

/* Fixed number of sessions, made at start. */
struct net_sessions {
	struct net_session *all;
	uint32_t n, unused; /* first of the unused; n: none */
};

struct net_server {
	struct net_sessions sessions;
	struct listener listener;
	_Atomic uint32_t open;
	_Atomic uint64_t octets; /* received */
};

/* Where the client connects to: every port of every address, NET_BLOCK connections to one before
 * the next, which is what ephemeral ports allow; those that are open already are among them.  A
 * target without a free port costs the stack a search through all of them for each try. */
#define NET_BLOCK         1984u
#define NET_ADDRESSES_MAX 64
#define NET_TARGETS_MAX   (NET_ADDRESSES_MAX * NET_PORTS)

struct net_paced;

struct net_client {
	struct stack *stack;
	struct net_sessions sessions;
	struct ip_addr servers[NET_ADDRESSES_MAX];
	unsigned server_n;
	uint32_t target, target_used;   /* of servers x ports, and connections to it */
	uint16_t open[NET_TARGETS_MAX]; /* to each, opening ones too */
	uint32_t active[NET_MODE_N];    /* sessions by mode */
	uint32_t opening;               /* of NET_IDLE, not open yet */
	struct net_paced *paced;        /* NULL: no such load */
	bool ending;                    /* the load is being taken away */
	/* orders of main */
	_Atomic uint32_t hold;  /* connections to hold open */
	_Atomic uint32_t mode;  /* enum net_mode */
	_Atomic uint32_t width; /* connections of the load at a time */
	/* figures for main */
	_Atomic uint32_t held; /* open and idle */
	_Atomic uint32_t busy; /* sessions of the load */
	_Atomic uint64_t done; /* answers, or connections in NET_CONNECT */
	_Atomic uint64_t octets;
	_Atomic uint64_t failed; /* connections that ended otherwise than in order */
};

/* Returns 0, -ENOMEM, or what stack_listen says. */
int net_server_init(struct net_server *s, struct stack *st, uint32_t sessions_max) WARN_UNUSED;
void net_server_fini(struct net_server *s);
int net_client_init(struct net_client *c, struct stack *st, uint32_t sessions_max) WARN_UNUSED;
void net_client_fini(struct net_client *c);
/* In each lap; ctx is the client.  Returns work done. */
unsigned net_client_poll(void *ctx, uint64_t now_us);
