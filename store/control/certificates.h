/* SPDX-License-Identifier: BSD-3-Clause
 * The files of the tls section, read once with the rights we were started with.  Main thread. */
#pragma once
#include "dataplane/tls/tls.h"
#include "store/control/config.h"

struct certificates;
/* Read all files of the section.  Returns 0 or -errno with the key and the file in error[]. */
int certificates_read(const struct config *c, struct certificates **certificates_r, char *error,
	size_t error_n) WARN_UNUSED;
/* The configuration for one core.  NULL with the reason in error[]. */
struct tls_config *certificates_tls(
	const struct certificates *certificates, char *error, size_t error_n);
/* Keys are wiped. */
void certificates_destroy(struct certificates **certificates);
