//! etcd's Auth service of a store where authentication is off, and which has no users and no roles.
//!
//! Users come with a later release: nobody can add one, nor a role. Everything else is answered as etcd answers it
//! where there are none, so that tools which look first find what is so.

use journal::KeyRange;
use proto::etcdserverpb as wire;
use proto::etcdserverpb::auth_server::Auth;
use tonic::{Request, Response, Status};

use crate::answer::Answered;
use crate::error::{AuthRefusal, Error};
use crate::etcd::header::Identity;
use crate::store::Store;

/// What adding a user or a role says.
const LATER: &str = "users and roles come with a later release: until then every client may do everything";

/// etcd's revision of users and roles that were never changed.
const AUTH_REVISION: u64 = 1;

/// The service.
pub(crate) struct AuthService {
    store: Store,
    identity: Identity,
}

impl AuthService {
    pub(crate) fn new(store: Store, identity: Identity) -> AuthService {
        AuthService { store, identity }
    }

    /// The header of an answer that stands on what is current.
    async fn header(&self) -> Result<Option<wire::ResponseHeader>, Error> {
        let now = async { Ok(Answered { answer: (), at: self.store.barrier().await? }) };
        let Answered { at, .. } = self.store.answer(now).await?;
        Ok(Some(self.identity.header(at)))
    }
}

fn refuse<T>(refusal: AuthRefusal) -> Result<Response<T>, Status> {
    Err(Error::Auth(refusal).into())
}

/// Why a permission is not given to any role, here where there is none to give it to.
fn grant(permission: Option<proto::authpb::Permission>) -> AuthRefusal {
    let Some(permission) = permission else { return AuthRefusal::NoPermission };
    let is_valid =
        !permission.key.is_empty() && !KeyRange::from_wire(permission.key, permission.range_end).is_empty();
    if is_valid { AuthRefusal::NoRole } else { AuthRefusal::Invalid }
}

#[tonic::async_trait]
impl Auth for AuthService {
    async fn auth_enable(
        &self,
        _: Request<wire::AuthEnableRequest>,
    ) -> Result<Response<wire::AuthEnableResponse>, Status> {
        refuse(AuthRefusal::NoRootUser)
    }

    async fn auth_disable(
        &self,
        _: Request<wire::AuthDisableRequest>,
    ) -> Result<Response<wire::AuthDisableResponse>, Status> {
        Ok(Response::new(wire::AuthDisableResponse { header: self.header().await? }))
    }

    async fn auth_status(
        &self,
        _: Request<wire::AuthStatusRequest>,
    ) -> Result<Response<wire::AuthStatusResponse>, Status> {
        let (header, auth_revision) = (self.header().await?, AUTH_REVISION);
        Ok(Response::new(wire::AuthStatusResponse { header, enabled: false, auth_revision }))
    }

    async fn authenticate(
        &self,
        _: Request<wire::AuthenticateRequest>,
    ) -> Result<Response<wire::AuthenticateResponse>, Status> {
        refuse(AuthRefusal::Disabled)
    }

    async fn user_add(
        &self,
        request: Request<wire::AuthUserAddRequest>,
    ) -> Result<Response<wire::AuthUserAddResponse>, Status> {
        if request.get_ref().name.is_empty() {
            return refuse(AuthRefusal::EmptyUserName);
        }
        Err(Error::Unimplemented(LATER).into())
    }

    async fn user_get(
        &self,
        _: Request<wire::AuthUserGetRequest>,
    ) -> Result<Response<wire::AuthUserGetResponse>, Status> {
        refuse(AuthRefusal::NoUser)
    }

    async fn user_list(
        &self,
        _: Request<wire::AuthUserListRequest>,
    ) -> Result<Response<wire::AuthUserListResponse>, Status> {
        let header = self.header().await?;
        Ok(Response::new(wire::AuthUserListResponse { header, users: Vec::new() }))
    }

    async fn user_delete(
        &self,
        _: Request<wire::AuthUserDeleteRequest>,
    ) -> Result<Response<wire::AuthUserDeleteResponse>, Status> {
        refuse(AuthRefusal::NoUser)
    }

    async fn user_change_password(
        &self,
        _: Request<wire::AuthUserChangePasswordRequest>,
    ) -> Result<Response<wire::AuthUserChangePasswordResponse>, Status> {
        refuse(AuthRefusal::NoUser)
    }

    async fn user_grant_role(
        &self,
        _: Request<wire::AuthUserGrantRoleRequest>,
    ) -> Result<Response<wire::AuthUserGrantRoleResponse>, Status> {
        refuse(AuthRefusal::NoUser)
    }

    async fn user_revoke_role(
        &self,
        _: Request<wire::AuthUserRevokeRoleRequest>,
    ) -> Result<Response<wire::AuthUserRevokeRoleResponse>, Status> {
        refuse(AuthRefusal::NoUser)
    }

    async fn role_add(
        &self,
        request: Request<wire::AuthRoleAddRequest>,
    ) -> Result<Response<wire::AuthRoleAddResponse>, Status> {
        if request.get_ref().name.is_empty() {
            return refuse(AuthRefusal::EmptyRoleName);
        }
        Err(Error::Unimplemented(LATER).into())
    }

    async fn role_get(
        &self,
        _: Request<wire::AuthRoleGetRequest>,
    ) -> Result<Response<wire::AuthRoleGetResponse>, Status> {
        refuse(AuthRefusal::NoRole)
    }

    async fn role_list(
        &self,
        _: Request<wire::AuthRoleListRequest>,
    ) -> Result<Response<wire::AuthRoleListResponse>, Status> {
        let header = self.header().await?;
        Ok(Response::new(wire::AuthRoleListResponse { header, roles: Vec::new() }))
    }

    async fn role_delete(
        &self,
        _: Request<wire::AuthRoleDeleteRequest>,
    ) -> Result<Response<wire::AuthRoleDeleteResponse>, Status> {
        refuse(AuthRefusal::NoRole)
    }

    async fn role_grant_permission(
        &self,
        request: Request<wire::AuthRoleGrantPermissionRequest>,
    ) -> Result<Response<wire::AuthRoleGrantPermissionResponse>, Status> {
        refuse(grant(request.into_inner().perm))
    }

    async fn role_revoke_permission(
        &self,
        _: Request<wire::AuthRoleRevokePermissionRequest>,
    ) -> Result<Response<wire::AuthRoleRevokePermissionResponse>, Status> {
        refuse(AuthRefusal::NoRole)
    }
}

#[cfg(test)]
mod tests {
    use proto::authpb::Permission;

    use super::*;

    #[test]
    fn a_permission_is_looked_at_before_its_role() {
        let check = |key: &'static str, range_end: &'static str, expected: AuthRefusal| {
            let permission = Permission { key: key.into(), range_end: range_end.into(), perm_type: 0 };
            assert_eq!(grant(Some(permission)), expected, "{key:?} {range_end:?}");
        };
        assert_eq!(grant(None), AuthRefusal::NoPermission);
        check("", "", AuthRefusal::Invalid);
        check("", "\0", AuthRefusal::Invalid);
        check("b", "a", AuthRefusal::Invalid);
        check("b", "b", AuthRefusal::Invalid);
        check("b", "", AuthRefusal::NoRole);
        check("b", "c", AuthRefusal::NoRole);
        check("b", "\0", AuthRefusal::NoRole);
    }
}
