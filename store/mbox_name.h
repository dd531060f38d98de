/* SPDX-License-Identifier: BSD-3-Clause
 * Mailbox names: UTF-8, levels separated by '/', INBOX in any case. */
#pragma once
#include "store/store.h"

#define MBOX_SEPARATOR '/'

/* "INBOX" in any case becomes INBOX; others as they are. */
struct bytes mbox_name_canonical(struct bytes name);
/* 1..480 octets of UTF-8 without controls, '*' or '%'; no empty level. */
bool mbox_name_valid(struct bytes name);
/* Octets of the UTF-8 sequence at the start of b, which is not empty; 0: malformed (RFC 3629 4). */
size_t utf8_sequence(struct bytes b);
