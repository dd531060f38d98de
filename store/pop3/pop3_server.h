/* SPDX-License-Identifier: BSD-3-Clause
 * The POP3 server of a core with CORE_CONTROL: binds streams to pop3_session engines, and those to
 * the store's channels. */
#pragma once
#include "store/access/access_server.h"

struct pop3_server;
struct pop3_server *pop3_server_create(
	struct access *a, struct access_ports ports, uint32_t sessions_max);
int pop3_server_listen(struct pop3_server *s) WARN_UNUSED;
void pop3_server_drain(struct pop3_server *s);
uint32_t pop3_server_sessions(const struct pop3_server *s);
void pop3_server_destroy(struct pop3_server **s);
