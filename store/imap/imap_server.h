/* SPDX-License-Identifier: BSD-3-Clause
 * The IMAP server of a core with CORE_CONTROL: binds streams to imap_session engines, and those to
 * the store's channels. */
#pragma once
#include "store/access/access_server.h"

struct imap_server;
struct imap_server *imap_server_create(
	struct access *a, struct access_ports ports, uint32_t sessions_max);
int imap_server_listen(struct imap_server *s) WARN_UNUSED;
void imap_server_drain(struct imap_server *s);
uint32_t imap_server_sessions(const struct imap_server *s);
void imap_server_destroy(struct imap_server **s);
