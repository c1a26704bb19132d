-- Where access tokens live for a fraction of a second, so that there are many exchanges: has a call failed by nothing
-- but that? On a slow disk or machine a token may be dead when it arrives, and so may the one of the exchange that
-- follows: the successor is saved before its token is used.
---@param err? dpg.Error
---@return boolean
return function(err)
  return err ~= nil and err.kind == "auth" and err.status == 401 and (err.attempts or 0) > 1
    and tostring(err):find("the token has expired", 1, true) ~= nil
end
