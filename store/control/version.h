/* SPDX-License-Identifier: BSD-3-Clause
 * The version that the build was given. */
#pragma once
#ifndef BYPOST_VERSION
#define BYPOST_VERSION "unknown"
#endif
