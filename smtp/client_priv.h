/* SPDX-License-Identifier: BSD-3-Clause
 * Between the files of the client engine: client.c (replies), client_hello.c (those that come
 * before the first message), client_output.c (what is sent). */
#pragma once
#include "smtp/client.h"

/* A state whose command is to be sent (due), or which waits. */
void client_set_state(struct smtp_client *c, enum smtp_client_state state, bool due);
/* The same verdict for all recipients that have none. */
void client_verdict_for_all(
	struct smtp_client *c, enum smtp_rcpt_result result, const struct smtp_reply_info *reply);
/* Every recipient has its verdict and every reply of the envelope is in. */
void client_message_end(struct smtp_client *c, bool reset);
/* The end of the session: what has no verdict gets this one. */
void client_end_session(
	struct smtp_client *c, enum smtp_rcpt_result result, const struct smtp_reply_info *reply);
/* The same, deferred for a reason of our own. */
void client_fail(struct smtp_client *c, const char *why);
/* A verdict of our own on the session, deferred; code and enhanced as a reply's. */
void client_refuse_session(
	struct smtp_client *c, uint16_t code, const char *enhanced, const char *why);
/* The peer's challenge, decoded: an answer to it, now or when it is worked out. */
void client_auth_step(struct smtp_client *c, struct bytes challenge);
/* Recipient i is not named to this peer: its verdict. */
void client_skip(struct smtp_client *c, uint32_t i, const struct smtp_reply_info *reply);
bool client_is_skipped(const struct smtp_client *c, uint32_t i);
/* Commands of the envelope that are sent and need no reply count as answered. */
void client_skip_ahead(struct smtp_client *c);
/* Number of DATA or BDAT among the commands of the envelope. */
uint32_t client_data_command(const struct smtp_client *c);
/* All is said that has to be before a message. */
void client_become_ready(struct smtp_client *c);
/* client_hello.c: a line of the reply to EHLO. */
void client_learn_extension(struct smtp_client *c, struct bytes line);
/* A reply in the state of this name. */
void client_on_greeting(struct smtp_client *c, const struct smtp_reply_info *r);
void client_on_ehlo(struct smtp_client *c, const struct smtp_reply_info *r);
void client_on_helo(struct smtp_client *c, const struct smtp_reply_info *r);
void client_on_starttls(struct smtp_client *c, const struct smtp_reply_info *r);
void client_on_auth(struct smtp_client *c, const struct smtp_reply_info *r);
