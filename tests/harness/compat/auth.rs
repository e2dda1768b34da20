//! What is asked of the Auth service of a store that has neither users nor roles.

use proto::authpb::Permission;
use proto::etcdserverpb::auth_client::AuthClient;
use proto::etcdserverpb::{
    AuthDisableRequest, AuthEnableRequest, AuthRoleAddRequest, AuthRoleDeleteRequest, AuthRoleGetRequest,
    AuthRoleGrantPermissionRequest, AuthRoleListRequest, AuthRoleRevokePermissionRequest, AuthStatusRequest,
    AuthUserAddRequest, AuthUserChangePasswordRequest, AuthUserDeleteRequest, AuthUserGetRequest,
    AuthUserGrantRoleRequest, AuthUserListRequest, AuthUserRevokeRoleRequest, AuthenticateRequest,
};
use tonic::transport::Channel;
use tonic::{Response, Status};

use super::outcome::Outcome;

/// Names of users and roles that nobody has added.
#[derive(Clone, Debug, PartialEq)]
pub enum AuthRequest {
    Enable,
    Disable,
    Status,
    Authenticate,
    UserAddWithoutName,
    UserGet,
    UserList,
    UserDelete(&'static str),
    UserChangePassword,
    UserGrantRole(&'static str),
    UserRevokeRole(&'static str),
    RoleAddWithoutName,
    RoleGet(&'static str),
    RoleList,
    RoleDelete(&'static str),
    RoleGrantPermission(Option<Permission>),
    RoleRevokePermission,
}

impl AuthRequest {
    /// One of each kind, and more where it may matter which name it is.
    #[must_use]
    pub fn all() -> Vec<AuthRequest> {
        let permission = |key: &'static str, range_end: &'static str| {
            let permission = Permission { perm_type: 2, key: key.into(), range_end: range_end.into() };
            AuthRequest::RoleGrantPermission(Some(permission))
        };
        vec![
            AuthRequest::Status,
            AuthRequest::Enable,
            AuthRequest::Disable,
            AuthRequest::Authenticate,
            AuthRequest::UserAddWithoutName,
            AuthRequest::UserGet,
            AuthRequest::UserList,
            AuthRequest::UserDelete("alice"),
            AuthRequest::UserDelete("root"),
            AuthRequest::UserChangePassword,
            AuthRequest::UserGrantRole("readers"),
            AuthRequest::UserGrantRole("root"),
            AuthRequest::UserRevokeRole("readers"),
            AuthRequest::UserRevokeRole("root"),
            AuthRequest::RoleAddWithoutName,
            AuthRequest::RoleGet("readers"),
            AuthRequest::RoleGet("root"),
            AuthRequest::RoleList,
            AuthRequest::RoleDelete("readers"),
            AuthRequest::RoleDelete("root"),
            AuthRequest::RoleGrantPermission(None),
            permission("", ""),
            permission("", "\0"),
            permission("b", "a"),
            permission("b", "b"),
            permission("b", "\0"),
            permission("b", "c"),
            AuthRequest::RoleRevokePermission,
            AuthRequest::Status,
        ]
    }

    pub(super) async fn call(self, mut auth: AuthClient<Channel>) -> Result<Outcome, Status> {
        let user = || "alice".to_owned();
        let role = || "readers".to_owned();
        Ok(match self {
            AuthRequest::Status => Outcome::of(auth.auth_status(AuthStatusRequest {}).await?.into_inner()),
            AuthRequest::Disable => Outcome::of(auth.auth_disable(AuthDisableRequest {}).await?.into_inner()),
            AuthRequest::UserList => Outcome::of(auth.user_list(AuthUserListRequest {}).await?.into_inner()),
            AuthRequest::RoleList => Outcome::of(auth.role_list(AuthRoleListRequest {}).await?.into_inner()),
            AuthRequest::Enable => unexpected(auth.auth_enable(AuthEnableRequest {}).await?),
            AuthRequest::Authenticate => {
                let password = "secret".to_owned();
                unexpected(auth.authenticate(AuthenticateRequest { name: user(), password }).await?)
            }
            AuthRequest::UserAddWithoutName => {
                unexpected(auth.user_add(AuthUserAddRequest::default()).await?)
            }
            AuthRequest::UserGet => unexpected(auth.user_get(AuthUserGetRequest { name: user() }).await?),
            AuthRequest::UserDelete(name) => {
                unexpected(auth.user_delete(AuthUserDeleteRequest { name: name.to_owned() }).await?)
            }
            AuthRequest::UserChangePassword => {
                let request = AuthUserChangePasswordRequest { name: user(), ..Default::default() };
                unexpected(auth.user_change_password(request).await?)
            }
            AuthRequest::UserGrantRole(role) => {
                let request = AuthUserGrantRoleRequest { user: user(), role: role.to_owned() };
                unexpected(auth.user_grant_role(request).await?)
            }
            AuthRequest::UserRevokeRole(role) => {
                let request = AuthUserRevokeRoleRequest { name: user(), role: role.to_owned() };
                unexpected(auth.user_revoke_role(request).await?)
            }
            AuthRequest::RoleAddWithoutName => {
                unexpected(auth.role_add(AuthRoleAddRequest::default()).await?)
            }
            AuthRequest::RoleGet(role) => {
                unexpected(auth.role_get(AuthRoleGetRequest { role: role.to_owned() }).await?)
            }
            AuthRequest::RoleDelete(role) => {
                unexpected(auth.role_delete(AuthRoleDeleteRequest { role: role.to_owned() }).await?)
            }
            AuthRequest::RoleGrantPermission(perm) => {
                let request = AuthRoleGrantPermissionRequest { name: role(), perm };
                unexpected(auth.role_grant_permission(request).await?)
            }
            AuthRequest::RoleRevokePermission => {
                let request = AuthRoleRevokePermissionRequest { role: role(), ..Default::default() };
                unexpected(auth.role_revoke_permission(request).await?)
            }
        })
    }
}

/// What no store grants that has no users. It is compared all the same, and then differs.
fn unexpected<T: std::fmt::Debug>(response: Response<T>) -> Outcome {
    Outcome::Told(format!("{:?}", response.into_inner()))
}
