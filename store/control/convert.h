/* SPDX-License-Identifier: BSD-3-Clause
 * From the configuration to what each room wants to know.  Main thread.  What the results point to
 * belongs to the configuration and lives as long. */
#pragma once
#include "dataplane/port.h"
#include "delivery/delivery.h"
#include "smtp/server.h"
#include "store/access/access.h"
#include "store/control/config.h"

void config_to_dataplane(const struct config *c, struct dataplane_conf *out);
void config_to_store(const struct config *c, struct store_conf *out);
void config_to_dns(const struct config *c, struct dns_conf *out);
void config_to_policy(
	const struct config *c, const struct directory *directory, struct smtp_policy *out);
void config_to_smtp(const struct config *c, struct smtp_server_conf *out);
/* own: PORTS_MAX * PORT_ADDRESSES_MAX entries of the caller, filled with this host's addresses. */
void config_to_delivery(const struct config *c, const struct directory *directory,
	struct ip_addr *own, struct delivery_conf *out);
/* Fills limits and names only; core and channels are the composition's. */
void config_to_access(const struct config *c, struct access *out);
/* Heads of messages (smtp/envelope.h) that the daemon may hold at once. */
uint32_t config_message_heads(const struct config *c);
