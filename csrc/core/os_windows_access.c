/*
 * Who may do what with a file, for Windows: access control lists in the place of POSIX's modes. This user, the system and
 * the administrators (who can take what they want, as root can) are trusted; all others are "others".
 */
#ifdef _WIN32

#include "os_windows_internal.h"

#include <aclapi.h>
#include <stdio.h>
#include <string.h>

/* --- who ---------------------------------------------------------------------------------------------------------- */

typedef union token_room {
    TOKEN_USER user;
    TOKEN_OWNER owner;
    char room[sizeof(TOKEN_USER) + SECURITY_MAX_SID_SIZE];
} token_room;

typedef struct self {
    token_room user, owner; /* the owner of what this process makes: for an administrator, often all of them together */
} self;

static bool self_init(self *me)
{
    HANDLE token;
    DWORD len;
    bool fine;

    if (!OpenProcessToken(GetCurrentProcess(), TOKEN_QUERY, &token)) return false;
    fine = GetTokenInformation(token, TokenUser, &me->user, sizeof me->user, &len) &&
           GetTokenInformation(token, TokenOwner, &me->owner, sizeof me->owner, &len);
    CloseHandle(token);
    return fine;
}

static bool is_me(const self *me, PSID sid)
{
    return EqualSid(sid, me->user.user.User.Sid) || EqualSid(sid, me->owner.owner.Owner);
}

/* Windows' own installer, which owns C:\ and the like: S-1-5-80-956008885-3418522649-1831038044-1853292631-2271478464 */
static bool is_installer(PSID sid)
{
    static const DWORD parts[] = {80, 956008885, 3418522649, 1831038044, 1853292631, 2271478464};
    static const SID_IDENTIFIER_AUTHORITY nt = SECURITY_NT_AUTHORITY;

    if (*GetSidSubAuthorityCount(sid) != 6 || memcmp(GetSidIdentifierAuthority(sid), &nt, sizeof nt) != 0) return false;
    for (DWORD i = 0; i < 6; i++)
        if (*GetSidSubAuthority(sid, i) != parts[i]) return false;
    return true;
}

static bool is_trusted(const self *me, PSID sid)
{
    return is_me(me, sid) || IsWellKnownSid(sid, WinLocalSystemSid) ||
           IsWellKnownSid(sid, WinBuiltinAdministratorsSid) || IsWellKnownSid(sid, WinCreatorOwnerRightsSid) ||
           IsWellKnownSid(sid, WinCreatorOwnerSid) || is_installer(sid);
}

/* --- what is made -------------------------------------------------------------------------------------------------- */

static bool fill_list(ACL *acl, DWORD room, const self *me)
{
    return InitializeAcl(acl, room, ACL_REVISION) &&
           AddAccessAllowedAceEx(acl, ACL_REVISION, OBJECT_INHERIT_ACE | CONTAINER_INHERIT_ACE, FILE_ALL_ACCESS,
                                 me->user.user.User.Sid);
}

bool dpg_windows_private_init(dpg_windows_private *out)
{
    self me;

    memset(out, 0, sizeof *out);
    if (!self_init(&me) || !fill_list(&out->list.acl, sizeof out->list, &me) ||
        !CopySid(sizeof out->owner, out->owner, me.user.user.User.Sid) ||
        !InitializeSecurityDescriptor(&out->descriptor, SECURITY_DESCRIPTOR_REVISION) ||
        !SetSecurityDescriptorOwner(&out->descriptor, out->owner, FALSE) || /* also when we run as administrator */
        !SetSecurityDescriptorDacl(&out->descriptor, TRUE, &out->list.acl, FALSE) ||
        !SetSecurityDescriptorControl(&out->descriptor, SE_DACL_PROTECTED, SE_DACL_PROTECTED))
        return false;
    out->attributes.nLength = sizeof out->attributes;
    out->attributes.lpSecurityDescriptor = &out->descriptor;
    out->attributes.bInheritHandle = FALSE;
    return true;
}

/* --- what is there ------------------------------------------------------------------------------------------------- */

/*
 * Does the list allow any of `rights` to somebody else? What it denies is not taken into account: a list that has to deny
 * is not one of ours. No list at all allows everything to everybody (FAT drives have none).
 */
static bool allows_others(const self *me, PACL acl, DWORD rights)
{
    if (!acl) return true;
    for (DWORD i = 0; i < acl->AceCount; i++) {
        ACCESS_ALLOWED_ACE *ace;
        void *entry;

        if (!GetAce(acl, i, &entry)) return true;
        ace = entry;
        if (ace->Header.AceFlags & INHERIT_ONLY_ACE) continue;
        if (ace->Header.AceType == ACCESS_DENIED_ACE_TYPE || ace->Header.AceType == ACCESS_DENIED_OBJECT_ACE_TYPE ||
            ace->Header.AceType == ACCESS_DENIED_CALLBACK_ACE_TYPE)
            continue;
        /* conditional and other rare kinds: whoever grants that way, let him grant nothing here */
        if (ace->Header.AceType != ACCESS_ALLOWED_ACE_TYPE) return true;
        if ((ace->Mask & rights) && !is_trusted(me, (PSID)&ace->SidStart)) return true;
    }
    return false;
}

dpg_os_trouble dpg_windows_check_folder(HANDLE folder, dpg_os_fault *fault)
{
    static const DWORD writing = FILE_ADD_FILE | FILE_ADD_SUBDIRECTORY | FILE_DELETE_CHILD | WRITE_DAC | WRITE_OWNER |
                                 GENERIC_WRITE | GENERIC_ALL;
    PSECURITY_DESCRIPTOR descriptor;
    PSID owner;
    PACL acl;
    self me;
    DWORD problem = GetSecurityInfo(folder, SE_FILE_OBJECT, OWNER_SECURITY_INFORMATION | DACL_SECURITY_INFORMATION,
                                    &owner, NULL, &acl, NULL, &descriptor);

    if (problem) return dpg_windows_fault(fault, problem);
    fault->trouble = DPG_OS_FINE;
    if (!self_init(&me)) dpg_windows_fault(fault, GetLastError());
    else if (!acl)
        dpg_windows_fault_of(fault, DPG_OS_OPEN_TO_OTHERS,
                             "everybody can write to it, or its drive has no permissions");
    else if (allows_others(&me, acl, writing))
        dpg_windows_fault_of(fault, DPG_OS_OPEN_TO_OTHERS, "its permissions let others write");
    else if (!is_trusted(&me, owner)) dpg_windows_fault_of(fault, DPG_OS_OPEN_TO_OTHERS, "it belongs to another user");
    LocalFree(descriptor);
    return fault->trouble;
}

/* False: GetLastError(). */
static bool make_private(HANDLE file)
{
    dpg_windows_private mine;

    return dpg_windows_private_init(&mine) &&
           SetKernelObjectSecurity(file, DACL_SECURITY_INFORMATION | PROTECTED_DACL_SECURITY_INFORMATION,
                                   &mine.descriptor);
}

/* `can_wait`: on a disk that can't be written to, it is no reason not to read. */
dpg_os_trouble dpg_windows_check_file(HANDLE file, bool can_wait, dpg_os_fault *fault)
{
    static const DWORD using = FILE_READ_DATA | FILE_WRITE_DATA | FILE_APPEND_DATA | DELETE | WRITE_DAC | WRITE_OWNER |
                               GENERIC_READ | GENERIC_WRITE | GENERIC_ALL;
    PSECURITY_DESCRIPTOR descriptor;
    PSID owner;
    PACL acl;
    self me;
    DWORD problem = GetSecurityInfo(file, SE_FILE_OBJECT, OWNER_SECURITY_INFORMATION | DACL_SECURITY_INFORMATION,
                                    &owner, NULL, &acl, NULL, &descriptor);

    if (problem) return dpg_windows_fault(fault, problem);
    fault->trouble = DPG_OS_FINE;
    if (!self_init(&me)) dpg_windows_fault(fault, GetLastError());
    else if (!is_trusted(&me, owner)) dpg_windows_fault_of(fault, DPG_OS_NOT_OURS, "it belongs to another user");
    else if (allows_others(&me, acl, using) && !make_private(file) && !can_wait)
        dpg_windows_fault(fault, GetLastError());
    LocalFree(descriptor);
    return fault->trouble;
}

bool dpg_windows_is_ours(const wchar_t *path)
{
    PSECURITY_DESCRIPTOR descriptor;
    PSID owner;
    bool ours;
    self me;

    /* whoever can't even ask is told so by what he does next */
    if (GetNamedSecurityInfoW((wchar_t *)(uintptr_t)path, SE_FILE_OBJECT, OWNER_SECURITY_INFORMATION, &owner, NULL,
                              NULL, NULL, &descriptor) != 0)
        return true;
    ours = !self_init(&me) || is_trusted(&me, owner);
    LocalFree(descriptor);
    return ours;
}

#else
#include "os.h" /* a file without a declaration is no C */
#endif
