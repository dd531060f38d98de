/* SPDX-License-Identifier: BSD-3-Clause
 * CRC-32C (Castagnoli), by the SSE4.2 instruction where the CPU has it.  Any thread. */
#pragma once
#include "dataplane/base/check.h"

/* Continue `crc` (0 to begin) over n octets. */
uint32_t crc32c(uint32_t crc, const void *data, size_t n);
