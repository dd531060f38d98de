/* SPDX-License-Identifier: BSD-3-Clause
 * A store in a temporary directory with real writer and reader threads; the test is the requester
 * and waits for each op. */
#pragma once
#include "store/store.h"

struct db;

struct harness {
	struct store *store;
	struct store_conf conf;
	char dir[256];
	struct waker waker;
	struct channel writer, reader;
	struct hints ready, events;
	uint64_t next_id;
	bool mounted; /* dir is a tmpfs of its own */
};

/* Sets up pools once per process and a fresh directory; h->conf may be changed before open. */
void harness_init(struct harness *h);
/* Aborts when the store does not open. */
void harness_open(struct harness *h);
void harness_close(struct harness *h);
/* Messages that were announced to the delivery side go back to their pool. */
void harness_hints_drop(struct harness *h);
/* Removes the directory. */
void harness_fini(struct harness *h);

/* Submits and waits; returns op->status. */
int harness_run(struct channel *c, struct op *op, unsigned kind);
int harness_write(struct harness *h, struct op *op, unsigned kind);
int harness_read(struct harness *h, struct op *op, unsigned kind);

/* An account; returns its number. */
uint32_t harness_account(struct harness *h, const char *address);
/* A message with the next id: n octets of a pattern made from the id.  rcpts are ended by NULL;
 * those of `example.org` get the account the directory says. */
struct message *harness_message(struct harness *h, size_t n, const char *const *rcpts);
/* Octet at of the pattern of id. */
uint8_t harness_octet(uint64_t id, uint64_t at);
void harness_body_append(struct message *m, uint64_t id, uint64_t from, size_t n);
/* Accepts and drops the reference; returns the status. */
int harness_accept(struct harness *h, struct message *m);
/* Opens a mailbox; aborts when it is not there.  Keywords are freed. */
struct mbox_state harness_box(struct harness *h, uint32_t account, const char *name);
/* Up to max rows of a mailbox into rows; returns how many. */
unsigned harness_rows(struct harness *h, uint32_t account, uint32_t box, uint64_t since,
	struct mbox_row *rows, unsigned max);
/* True when the blob's body is the whole pattern of id with n octets and the prefix before it. */
bool harness_body_is(struct harness *h, uint64_t id, size_t n, const char *prefix, bool relay);
/* The environment, to be looked at. */
const struct db *harness_db(const struct harness *h);
/* Chunks and message heads all back in their pools? */
bool harness_nothing_leaked(const struct harness *h);
